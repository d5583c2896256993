//! What each command does.

use crate::{
    arguments::{Arguments, Command, LinkArgs, PromptArgs, SettingArgs},
    console::Console,
    keygen::keygen,
};
use deltavlm_ground::{
    Station, StationEvent, preview::PreviewAssembler, queries::PendingQuery, render,
};
use deltavlm_messages::{
    Confidence, Message, PreviewImage, Prompt, QueryId, Setting, Text, tile_number,
};
use serde_json::json;
use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

const EXIT_REFUSED: u8 = 3;
const EXIT_NO_ANSWER: u8 = 4;

type CommandResult = Result<ExitCode, Box<dyn Error>>;

pub(crate) fn run(arguments: Arguments) -> CommandResult {
    match arguments.command {
        Command::Listen { link, seconds, all } => listen(&link, seconds, all),
        Command::Ask {
            link,
            tile,
            what,
            quote,
            after,
            timeout,
        } => {
            if quote {
                return self::quote(&link, &tile, what);
            }
            ask(&link, &tile, what, after, timeout)
        }
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
        Command::Cancel { link, query } => cancel(&link, query),
        Command::Keygen(arguments) => keygen(&arguments).map(|()| ExitCode::SUCCESS),
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
    eprintln!("link: {}", console.settings);
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

/// What questions would cost, with their answers.
fn quote(link: &LinkArgs, tile: &str, what: PromptArgs) -> CommandResult {
    let console = Console::open(link)?;
    let mut prompts: Vec<Prompt> = what.instruction.map(Prompt::from).into_iter().collect();
    for question in &what.question {
        let text = Text::try_from(question.as_str())
            .map_err(|error| format!("the question: {error}; ask in fewer words"))?;
        prompts.push(Prompt::Open(text));
    }
    for prompt in prompts {
        let (bytes, time) = console.station.estimate(tile_number(tile), prompt)?;
        let seconds = time.map(|time| time.as_secs_f64());
        if console.json {
            println!(
                "{}",
                json!({ "event": "quote", "bytes": bytes, "seconds": seconds })
            );
        } else if let Some(seconds) = seconds {
            println!(
                "QUOTE   about {bytes} bytes on the air, an answer in {seconds:.0} s of contact"
            );
        } else {
            println!("QUOTE   about {bytes} bytes on the air; the contact schedule ends before");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cancel(link: &LinkArgs, query: QueryId) -> CommandResult {
    let mut console = Console::open(link)?;
    if !console.station.cancel(query) {
        eprintln!(
            "#{query} does not wait to be sent: it has reached the board, or was never asked"
        );
        return Ok(ExitCode::from(EXIT_REFUSED));
    }
    // The board is told, if it hears: it may have got part of it.
    console.flush_acknowledgements();
    println!("CANCELLED #{query}");
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
