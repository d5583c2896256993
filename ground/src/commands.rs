//! What each command does.

use crate::arguments::{Arguments, Command, Fixed, LinkArguments, SettingArguments, What, Which};
use deltavlm_carrier::{Notice, SharedKey, tile_number};
use deltavlm_ground::{
    Happening, Settings, Station,
    geo::{self, Tiles},
    picture::Assembly,
    queries::Asked,
    words,
};
use deltavlm_link::{
    message::{Confidence, Instruction, Message, Picture, QueryId, Setting},
    text::Text,
};
use serde_json::json;
use std::{
    error::Error,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

const REFUSED: u8 = 3;
const NO_ANSWER: u8 = 4;
const TURN: Duration = Duration::from_millis(200);

type Outcome = Result<ExitCode, Box<dyn Error>>;

pub(crate) fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Listen { link, seconds, all } => listen(&link, seconds, all),
        Command::Ask {
            link,
            tile,
            what,
            after,
            timeout,
        } => ask(&link, &tile, what, after, timeout),
        Command::Status { link, timeout } => status(&link, timeout),
        Command::Chip {
            link,
            tile,
            picture,
            level,
            out,
            timeout,
        } => chip(&link, &tile, picture, level, &out, timeout),
        Command::Set {
            link,
            setting,
            timeout,
        } => set(&link, &setting, timeout),
        Command::Keygen { out, id } => keygen(out, id),
    }
}

/// A station and how to show what happens there.
struct Desk {
    station: Station,
    json: bool,
    geojson: Option<PathBuf>,
    tiles: Tiles,
}

impl Desk {
    fn open(link: &LinkArguments) -> Result<Self, Box<dyn Error>> {
        let key = link.key.as_deref().map(SharedKey::read).transpose()?;
        let tiles = link
            .tiles
            .as_deref()
            .map(Tiles::read)
            .transpose()?
            .unwrap_or_default();
        let station = Station::start(Settings {
            address: link.link.clone(),
            key,
            state: link.state.clone().map_or_else(default_state, Ok)?,
            mtu: link.mtu,
            rate: link.bytes_per_s,
            probe: Duration::from_secs(u64::from(link.probe_s)),
        })?;
        let desk = Self {
            station,
            json: link.json,
            geojson: link.geojson.clone(),
            tiles,
        };
        desk.write_geojson()?;
        Ok(desk)
    }

    /// Shows what happens until `is_over` says so; false when time runs out first.
    fn watch(
        &mut self,
        timeout: Option<Duration>,
        mut is_over: impl FnMut(&mut Station, &Happening) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        let start = Instant::now();
        while timeout.is_none_or(|timeout| start.elapsed() < timeout) {
            let mut over = false;
            for happening in self.station.step(TURN) {
                self.show(&happening)?;
                over |= is_over(&mut self.station, &happening);
            }
            if over {
                self.settle();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the link a moment to acknowledge what came, so that the board stops sending it.
    fn settle(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            for happening in self.station.step(Duration::from_millis(50)) {
                let _ = self.show(&happening);
            }
        }
    }

    fn show(&self, happening: &Happening) -> Result<(), Box<dyn Error>> {
        let (text, document) = match happening {
            Happening::Recorded { message, asked } => {
                if matches!(message, Message::Alert(_)) {
                    self.write_geojson()?;
                }
                (
                    words::text(message, asked.as_ref()),
                    words::json(message, asked.as_ref()),
                )
            }
            Happening::Health(health) => (words::health_text(health), words::health_json(health)),
            Happening::LinkUp => ("CONTACT".to_owned(), json!({ "event": "link", "up": true })),
            Happening::LinkParked => (
                "NO CONTACT".to_owned(),
                json!({ "event": "link", "up": false }),
            ),
            Happening::BoardStarted => (
                "BOARD   its program started".to_owned(),
                json!({ "event": "board_started" }),
            ),
            Happening::Line(Notice::Closed(reason)) => {
                eprintln!("the line is not open: {reason}; trying again every two seconds");
                return Ok(());
            }
            Happening::StateFailed(problem) => {
                eprintln!("error: the state directory failed: {problem}");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{document}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        Ok(())
    }

    /// Why there may be no answer, as far as the link's counters tell.
    fn hint(&self) -> &'static str {
        let counters = self.station.counters();
        if counters.unknown_key > 0 || counters.bad_authentication > 0 {
            "; frames came that this key does not open: is --key the file that the board has?"
        } else if counters.unprotected > 0 {
            "; frames came without a signature: the board has no key"
        } else if counters.bytes_received == 0 {
            "; nothing at all was heard: check --link and the radio"
        } else {
            ""
        }
    }

    fn write_geojson(&self) -> Result<(), Box<dyn Error>> {
        let Some(path) = &self.geojson else {
            return Ok(());
        };
        let collection = geo::collection(self.station.record().entries(), &self.tiles);
        let temporary = path.with_extension("geojson.new");
        let write = || {
            std::fs::write(&temporary, serde_json::to_vec_pretty(&collection)?)?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
        Ok(())
    }
}

fn listen(link: &LinkArguments, seconds: Option<f64>, all: bool) -> Outcome {
    let mut desk = Desk::open(link)?;
    if all {
        for entry in desk.station.record().entries() {
            desk.show(&Happening::Recorded {
                message: entry.message.clone(),
                asked: None,
            })?;
        }
    }
    desk.watch(
        seconds.map(Duration::try_from_secs_f64).transpose()?,
        |_, _| false,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn ask(link: &LinkArguments, tile: &str, what: What, after: Option<u16>, timeout: f64) -> Outcome {
    let mut desk = Desk::open(link)?;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    if let Some(fixed) = what.instruction {
        let (instruction, name) = match fixed {
            Fixed::Classify => (Instruction::Classify, "classify"),
            Fixed::Count => (Instruction::Count, "count"),
            Fixed::Localize => (Instruction::Localize, "localize"),
            Fixed::Caption => (Instruction::Caption, "caption"),
            Fixed::Survey => (Instruction::Survey, "survey"),
        };
        let asked = asked(tile, name, None);
        let query = desk.station.ask(tile_number(tile), instruction, asked)?;
        return wait_for_answer(&mut desk, query, timeout);
    }
    let mut previous = after;
    for question in &what.question {
        let text = Text::try_from(question.as_str())
            .map_err(|error| format!("the question: {error}; ask in fewer words"))?;
        let instruction = match previous {
            Some(after) => Instruction::FollowUp { after, text },
            None => Instruction::Open(text),
        };
        let follow_up = previous.is_some();
        let asked = Asked {
            follow_up,
            ..asked(tile, "question", Some(question))
        };
        let query = desk.station.ask(tile_number(tile), instruction, asked)?;
        let code = wait_for_answer(&mut desk, query, timeout)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
        previous = Some(query);
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_for_answer(
    desk: &mut Desk,
    query: QueryId,
    timeout: Duration,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut refused = false;
    let answered = desk.watch(Some(timeout), |_, happening| match happening {
        Happening::Recorded {
            message: Message::Answer(answer),
            ..
        } => answer.query == query,
        Happening::Recorded {
            message: Message::Refusal(refusal),
            ..
        } if refusal.query == query => {
            refused = true;
            true
        }
        _ => false,
    })?;
    if !answered {
        eprintln!(
            "no answer to #{query} in {} s; the question stays with the link, \
             and its answer is shown by the next `listen` or `ask`{}",
            timeout.as_secs(),
            desk.hint()
        );
        return Ok(ExitCode::from(NO_ANSWER));
    }
    Ok(if refused {
        ExitCode::from(REFUSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn status(link: &LinkArguments, timeout: f64) -> Outcome {
    let mut desk = Desk::open(link)?;
    let number = std::process::id();
    desk.station.ping(number)?;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    let is_pong = |_: &mut Station, happening: &Happening| matches!(happening, Happening::Pong(answered) if *answered == number);
    let answered = desk.watch(Some(timeout), is_pong)?;
    for (id, asked) in desk.station.queries().unanswered() {
        let what = asked.question.as_deref().unwrap_or(&asked.instruction);
        eprintln!("#{id} is not answered yet: tile {}, {what}", asked.tile);
    }
    if !answered {
        eprintln!(
            "the board did not answer in {} s{}",
            timeout.as_secs(),
            desk.hint()
        );
        return Ok(ExitCode::from(NO_ANSWER));
    }
    // The board sends its state right behind; on a lossy radio it may take a little.
    desk.watch(Some(Duration::from_secs(3)), |_, happening| {
        matches!(happening, Happening::Health(_))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn chip(
    link: &LinkArguments,
    tile: &str,
    which: Which,
    level: u8,
    out: &std::path::Path,
    timeout: f64,
) -> Outcome {
    let mut desk = Desk::open(link)?;
    let picture = match which {
        Which::Before => Picture::Before,
        Which::After => Picture::After,
        Which::Difference => Picture::Difference,
    };
    let query =
        desk.station
            .ask_picture(tile_number(tile), picture, level, asked(tile, "chip", None))?;
    let mut assembly = Assembly::new(query);
    let (mut refused, mut failed) = (false, None);
    let json = desk.json;
    let complete = desk.watch(
        Some(Duration::try_from_secs_f64(timeout)?),
        |station, happening| match happening {
            Happening::Chip(chip) => {
                let Some(done) = assembly.add(chip) else {
                    return false;
                };
                let path = PathBuf::from(format!(
                    "{}-{}.{}",
                    out.display(),
                    32 << done.level,
                    done.extension
                ));
                if let Err(error) = std::fs::write(&path, &done.bytes) {
                    failed = Some(format!("{}: {error}", path.display()));
                } else if json {
                    println!(
                        "{}",
                        json!({ "event": "chip", "level": done.level, "path": path })
                    );
                } else {
                    println!("PICTURE {} ({} bytes)", path.display(), done.bytes.len());
                }
                if done.level == level {
                    station.close(query);
                }
                done.level == level || failed.is_some()
            }
            Happening::Recorded {
                message: Message::Refusal(refusal),
                ..
            } => {
                refused = refusal.query == query;
                refused
            }
            _ => false,
        },
    )?;
    match failed {
        Some(problem) => Err(problem.into()),
        None if refused => Ok(ExitCode::from(REFUSED)),
        None if complete => Ok(ExitCode::SUCCESS),
        None => {
            eprintln!("the picture is not complete in {timeout} s");
            Ok(ExitCode::from(NO_ANSWER))
        }
    }
}

fn set(link: &LinkArguments, arguments: &SettingArguments, timeout: f64) -> Outcome {
    let setting = if let Some(threshold) = arguments.alert_threshold {
        if !(0.5..=1.0).contains(&threshold) {
            return Err(
                format!("--alert-threshold {threshold}: write a number from 0.5 to 1").into(),
            );
        }
        Setting::AlertThreshold(Confidence::from_fraction(threshold))
    } else if let Some(seconds) = arguments.health_interval {
        Setting::HealthInterval(seconds)
    } else if let Some(rate) = arguments.rate {
        Setting::Rate(rate)
    } else {
        Setting::Quiet(arguments.quiet.unwrap_or(0))
    };
    let mut desk = Desk::open(link)?;
    let query = desk.station.set(setting, asked("-", "set", None))?;
    let mut refused = false;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    let answered = desk.watch(Some(timeout), |_, happening| match happening {
        Happening::Done(done) => *done == query,
        Happening::Recorded {
            message: Message::Refusal(refusal),
            ..
        } => {
            refused = refusal.query == query;
            refused
        }
        _ => false,
    })?;
    if !answered {
        eprintln!(
            "the board did not answer in {} s; the setting stays with the link",
            timeout.as_secs()
        );
        return Ok(ExitCode::from(NO_ANSWER));
    }
    if !refused && desk.json {
        println!("{}", json!({ "event": "done", "query": query }));
    } else if !refused {
        println!("DONE    {}", words::setting(setting));
    }
    Ok(if refused {
        ExitCode::from(REFUSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn keygen(out: PathBuf, id: u32) -> Outcome {
    SharedKey::draw(id)?.write(&out)?;
    println!(
        "{}: key {id}; copy it to the board and give it to both ends",
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn asked(tile: &str, instruction: &str, question: Option<&String>) -> Asked {
    Asked {
        tile: tile.to_owned(),
        instruction: instruction.to_owned(),
        question: question.cloned(),
        follow_up: false,
    }
}

fn default_state() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
    base.map(|base| base.join("dvlm-ground"))
        .ok_or_else(|| "neither XDG_STATE_HOME nor HOME is set; give --state DIR".to_owned())
}
