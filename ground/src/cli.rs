//! What each command does.

use crate::arguments::{Arguments, Command, LinkArgs, PromptArgs, SettingArgs};
use deltavlm_ground::{
    Station, StationConfig, StationEvent,
    geo::{self, Tiles},
    preview::PreviewAssembler,
    queries::PendingQuery,
    render,
};
use deltavlm_messages::{
    Confidence, Message, PreviewImage, Prompt, QueryId, Setting, Text, tile_number,
};
use deltavlm_node::{CarrierEvent, SharedKey};
use serde_json::json;
use std::{
    error::Error,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

const EXIT_REFUSED: u8 = 3;
const EXIT_NO_ANSWER: u8 = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(200);

type CommandResult = Result<ExitCode, Box<dyn Error>>;

pub(crate) fn run(arguments: Arguments) -> CommandResult {
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
struct Console {
    station: Station,
    json: bool,
    geojson: Option<PathBuf>,
    tiles: Tiles,
}

impl Console {
    fn open(link: &LinkArgs) -> Result<Self, Box<dyn Error>> {
        let key = link.key.as_deref().map(SharedKey::read).transpose()?;
        let tiles = link
            .tiles
            .as_deref()
            .map(Tiles::read)
            .transpose()?
            .unwrap_or_default();
        let station = Station::start(StationConfig {
            address: link.link.clone(),
            key,
            state: link.state.clone().map_or_else(default_state, Ok)?,
            mtu: link.mtu,
            rate: link.bytes_per_s,
            probe: Duration::from_secs(u64::from(link.probe_s)),
        })?;
        let console = Self {
            station,
            json: link.json,
            geojson: link.geojson.clone(),
            tiles,
        };
        console.write_geojson()?;
        Ok(console)
    }

    /// Shows what happens until `is_over` says so; false when time runs out first.
    fn run_until(
        &mut self,
        timeout: Option<Duration>,
        mut is_over: impl FnMut(&mut Station, &StationEvent) -> bool,
    ) -> Result<bool, Box<dyn Error>> {
        let start = Instant::now();
        while timeout.is_none_or(|timeout| start.elapsed() < timeout) {
            let mut over = false;
            for event in self.station.step(POLL_INTERVAL) {
                self.show(&event)?;
                over |= is_over(&mut self.station, &event);
            }
            if over {
                self.flush_acknowledgements();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the link a moment to acknowledge what came, so that the board stops sending it.
    fn flush_acknowledgements(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            for event in self.station.step(Duration::from_millis(50)) {
                let _ = self.show(&event);
            }
        }
    }

    fn show(&self, event: &StationEvent) -> Result<(), Box<dyn Error>> {
        let (text, document) = match event {
            StationEvent::Recorded {
                message,
                pending,
                received,
            } => {
                if matches!(message, Message::Alert(_)) {
                    self.write_geojson()?;
                }
                let mut document = render::message_json(message, pending.as_ref());
                document["received"] = json!(received);
                (render::message_text(message, pending.as_ref()), document)
            }
            StationEvent::Expired(query) => (
                format!("EXPIRED #{query}: waited too long for contact and is given up; ask again"),
                json!({ "event": "expired", "query": query }),
            ),
            StationEvent::Denied(_) => (
                "DENIED  the board does not accept this station's frames: is --key the file that \
                 the board has?"
                    .to_owned(),
                json!({ "event": "denied" }),
            ),
            StationEvent::Health(health) => {
                (render::health_text(health), render::health_json(health))
            }
            StationEvent::LinkUp => ("CONTACT".to_owned(), json!({ "event": "link", "up": true })),
            StationEvent::LinkDown => (
                "NO CONTACT".to_owned(),
                json!({ "event": "link", "up": false }),
            ),
            StationEvent::BoardStarted => (
                "BOARD   its program started".to_owned(),
                json!({ "event": "board_started" }),
            ),
            StationEvent::Carrier(CarrierEvent::Closed(reason)) => {
                eprintln!("the line is not open: {reason}; trying again every two seconds");
                return Ok(());
            }
            StationEvent::StateFailed(problem) => {
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
    fn no_answer_hint(&self) -> &'static str {
        let counters = self.station.counters();
        if self.station.is_denied() {
            return "; the board does not accept this station's frames: is --key the file that it has?";
        }
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

fn listen(link: &LinkArgs, seconds: Option<f64>, all: bool) -> CommandResult {
    let mut console = Console::open(link)?;
    if all {
        for entry in console.station.record().entries() {
            console.show(&entry.clone().into())?;
        }
    }
    console.run_until(
        seconds.map(Duration::try_from_secs_f64).transpose()?,
        |_, _| false,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn ask(
    link: &LinkArgs,
    tile: &str,
    what: PromptArgs,
    after: Option<u16>,
    timeout: f64,
) -> CommandResult {
    let mut console = Console::open(link)?;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    if let Some(instruction) = what.instruction {
        let pending = pending_query(tile, instruction.name(), None);
        let query = console
            .station
            .ask(tile_number(tile), instruction.into(), pending)?;
        return wait_for_answer(&mut console, query, timeout);
    }
    let mut previous = after;
    for question in &what.question {
        let text = Text::try_from(question.as_str())
            .map_err(|error| format!("the question: {error}; ask in fewer words"))?;
        let prompt = match previous {
            Some(after) => Prompt::FollowUp { after, text },
            None => Prompt::Open(text),
        };
        let follow_up = previous.is_some();
        let pending = PendingQuery {
            follow_up,
            ..pending_query(tile, "question", Some(question))
        };
        let query = console.station.ask(tile_number(tile), prompt, pending)?;
        let code = wait_for_answer(&mut console, query, timeout)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
        previous = Some(query);
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_for_answer(
    console: &mut Console,
    query: QueryId,
    timeout: Duration,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut refused = false;
    let answered = console.run_until(Some(timeout), |_, event| match event {
        StationEvent::Recorded {
            message: Message::Answer(answer),
            ..
        } => answer.query == query,
        StationEvent::Recorded {
            message: Message::Refusal(refusal),
            ..
        } if refusal.query == query => {
            refused = true;
            true
        }
        StationEvent::Expired(expired) if *expired == query => {
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
            console.no_answer_hint()
        );
        return Ok(ExitCode::from(EXIT_NO_ANSWER));
    }
    Ok(if refused {
        ExitCode::from(EXIT_REFUSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn status(link: &LinkArgs, timeout: f64) -> CommandResult {
    let mut console = Console::open(link)?;
    let number = std::process::id();
    console.station.ping(number)?;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    let is_pong = |_: &mut Station, event: &StationEvent| matches!(event, StationEvent::Pong(answered) if *answered == number);
    let answered = console.run_until(Some(timeout), is_pong)?;
    for (id, pending) in console.station.queries().unanswered() {
        let what = pending.question.as_deref().unwrap_or(&pending.instruction);
        eprintln!("#{id} is not answered yet: tile {}, {what}", pending.tile);
    }
    if !answered {
        eprintln!(
            "the board did not answer in {} s{}",
            timeout.as_secs(),
            console.no_answer_hint()
        );
        return Ok(ExitCode::from(EXIT_NO_ANSWER));
    }
    // The board sends its state right behind; on a lossy radio it may take a little.
    console.run_until(Some(Duration::from_secs(3)), |_, event| {
        matches!(event, StationEvent::Health(_))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn chip(
    link: &LinkArgs,
    tile: &str,
    picture: PreviewImage,
    level: u8,
    out: &std::path::Path,
    timeout: f64,
) -> CommandResult {
    let mut console = Console::open(link)?;
    let query = console.station.ask_picture(
        tile_number(tile),
        picture,
        level,
        pending_query(tile, "chip", None),
    )?;
    let mut assembler = PreviewAssembler::new(query);
    let (mut refused, mut failed) = (false, None);
    let json = console.json;
    let complete = console.run_until(
        Some(Duration::try_from_secs_f64(timeout)?),
        |station, event| match event {
            StationEvent::PreviewPart(chip) => {
                let Some(done) = assembler.add(chip) else {
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
            StationEvent::Recorded {
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
        None if refused => Ok(ExitCode::from(EXIT_REFUSED)),
        None if complete => Ok(ExitCode::SUCCESS),
        None => {
            eprintln!("the picture is not complete in {timeout} s");
            Ok(ExitCode::from(EXIT_NO_ANSWER))
        }
    }
}

fn set(link: &LinkArgs, arguments: &SettingArgs, timeout: f64) -> CommandResult {
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
    let mut console = Console::open(link)?;
    let query = console
        .station
        .set(setting, pending_query("-", "set", None))?;
    let mut refused = false;
    let timeout = Duration::try_from_secs_f64(timeout)?;
    let answered = console.run_until(Some(timeout), |_, event| match event {
        StationEvent::Applied(done) => *done == query,
        StationEvent::Recorded {
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
        return Ok(ExitCode::from(EXIT_NO_ANSWER));
    }
    if !refused && console.json {
        println!("{}", json!({ "event": "done", "query": query }));
    } else if !refused {
        println!("DONE    {}", render::setting_effect(setting));
    }
    Ok(if refused {
        ExitCode::from(EXIT_REFUSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn keygen(out: PathBuf, id: u32) -> CommandResult {
    SharedKey::generate(id)?.write(&out)?;
    println!(
        "{}: key {id}; copy it to the board and give it to both ends",
        out.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn pending_query(tile: &str, instruction: &str, question: Option<&String>) -> PendingQuery {
    PendingQuery {
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
