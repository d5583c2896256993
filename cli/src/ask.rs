//! `dvlm ask`: one pair, one or more answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use deltavlm_cli::CliError;
use deltavlm_runtime::frame::Merged;
use deltavlm_runtime::{
    Answer, AnswerContent, Budget, Image, Instruction, Mask, Model, Pair, Request, Timing, Trust,
    Turn,
};
use deltavlm_runtime::{Rect, Tiling};
use serde_json::{Value, json};

use crate::common::{DecodingArguments, EngineArguments, print, print_engine};
use crate::json;

/// Asks about one pair of pictures.
#[derive(Args)]
#[command(group(ArgGroup::new("asked").required(true).multiple(true).args(["instruction", "question"])))]
pub(crate) struct Arguments {
    /// The bundle directory.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// The picture from the earlier pass.
    #[arg(long, value_name = "IMG")]
    before: PathBuf,
    /// The picture from the later pass.
    #[arg(long, value_name = "IMG")]
    after: PathBuf,
    /// A fixed instruction; survey asks all of them.
    #[arg(long, value_enum)]
    instruction: Option<Instruction>,
    /// An open question; later ones are follow-up turns, with `--tile` questions of
    /// their own.
    #[arg(long, value_name = "TEXT")]
    question: Vec<String>,
    /// Give questions to both tokenizers untouched.
    #[arg(long)]
    raw_prompt: bool,
    /// Cut frames larger than this into square tiles.
    #[arg(long, value_name = "PIXELS")]
    tile: Option<u32>,
    /// Pixels that neighbouring tiles share.
    #[arg(long, value_name = "PIXELS", default_value_t = 0, requires = "tile")]
    overlap: u32,
    /// Write the change mask as a grey PNG, white where something changed; for
    /// bundles with a mask branch.
    #[arg(long, value_name = "FILE", conflicts_with = "tile")]
    mask: Option<PathBuf>,
    /// Give up, between two steps, this many milliseconds after the start.
    #[arg(long, value_name = "MS")]
    deadline: Option<u64>,
    #[command(flatten)]
    engine: EngineArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let started = Instant::now();
    // A picture that cannot be read is told before a model is loaded for it.
    let limits = arguments.engine.options().decode;
    let before = Image::open(&arguments.before, &limits)?;
    let after = Image::open(&arguments.after, &limits)?;
    let decoding_ms = started.elapsed().as_secs_f64() * 1e3;
    if before.size() != after.size() {
        return Err(deltavlm_runtime::Error::SizesDiffer {
            before: before.size(),
            after: after.size(),
        }
        .into());
    }
    let mut model = Model::open(&arguments.bundle, &arguments.engine.options())?;
    let budget = Budget {
        deadline: arguments
            .deadline
            .map(|ms| started + Duration::from_millis(ms)),
        cancel: None,
    };
    if budget.deadline.is_some_and(|end| Instant::now() >= end) {
        return Err(deltavlm_runtime::Error::Deadline {
            after: started.elapsed(),
            during: "loading the bundle",
        }
        .into());
    }
    let mut timing = Timing {
        load: model.load_ms(),
        preprocess: decoding_ms,
        ..Timing::default()
    };
    let (width, height) = before.size();
    match arguments.tile {
        Some(tile) if width > tile || height > tile => frame(
            arguments,
            &mut model,
            [&before, &after],
            Tiling::new(tile, arguments.overlap)?,
            &budget,
            timing,
            started,
        ),
        _ => {
            let pair = model.pair_within(&before, &after, &budget)?;
            timing.add(&pair.timing());
            single(arguments, &mut model, &pair, &budget, timing, started)
        }
    }
}

fn single(
    arguments: &Arguments,
    model: &mut Model,
    pair: &Pair,
    budget: &Budget,
    mut timing: Timing,
    started: Instant,
) -> Result<(), CliError> {
    let mut answers = Vec::new();
    let mut finding = None;
    if let Some(asked) = arguments.instruction {
        let requests: Vec<Request> = instructions(asked, model)
            .into_iter()
            .map(|instruction| settings(arguments, Request::fixed(instruction)))
            .collect();
        let given = model.ask_within(pair, &requests, budget)?;
        timing.add(&given.timing);
        answers.extend(given.answers);
        finding = given.finding;
    }
    let mut history = first_turn(arguments, &answers);
    for question in &arguments.question {
        let request = if arguments.raw_prompt {
            Request::raw(question)
        } else {
            Request::follow_up(history.clone(), question)
        };
        let request = [settings(arguments, request)];
        let mut given = model.ask_within(pair, &request, budget)?;
        let answer = given.answers.remove(0);
        if answer.trimmed_turns > 0 {
            log::warn!(
                "the dialogue did not fit: {} of its {} turns, the oldest, were left out",
                answer.trimmed_turns,
                history.len()
            );
        }
        timing.add(&given.timing);
        history.push(answer.as_turn(question));
        answers.push(answer);
    }

    let mask = match &arguments.mask {
        Some(file) => Some((file, write_mask(model, pair, file)?)),
        None => None,
    };
    if arguments.json {
        let mut document = json!({
            "model": json::model(model),
            "answers": answers.iter().map(json::answer).collect::<Vec<_>>(),
            "timing_ms": json::timing(&timing, started),
            "before_cached": pair.before_was_cached(),
            "peak_rss_mib": json::peak_rss(),
        });
        if let Some(finding) = &finding {
            document["finding"] = json::finding(finding);
        }
        json::set_trust(&mut document, pair.trust());
        if let Some((file, mask)) = &mask {
            document["mask"] = json::mask(file, mask);
        }
        return print(&document.to_string());
    }
    for answer in &answers {
        print(&line(answer))?;
    }
    if let Some(line) = pair.trust().and_then(|trust| doubt_line(&trust)) {
        print(&line)?;
    }
    if let Some((file, mask)) = &mask {
        let share = 100.0 * mask.share();
        print(&format!(
            "mask: {share:.1} % changed, in {}",
            file.display()
        ))?;
    }
    print_engine(model)
}

/// What a user has to know before believing the answers.
fn doubt_line(trust: &Trust) -> Option<String> {
    let why = match trust.doubt()? {
        "place" => "the two pictures do not seem to show one place",
        _ => "the pictures are unlike those that the model learned from",
    };
    Some(format!("trust {:.2}: {why}", trust.score))
}

fn write_mask(model: &mut Model, pair: &Pair, file: &Path) -> Result<Mask, CliError> {
    let Some(mask) = model.mask(pair)? else {
        return Err(CliError::NoMask {
            model: model.id().to_owned(),
        });
    };
    mask.save_png(file)?;
    Ok(mask)
}

fn frame(
    arguments: &Arguments,
    model: &mut Model,
    [before, after]: [&Image; 2],
    tiling: Tiling,
    budget: &Budget,
    mut timing: Timing,
    started: Instant,
) -> Result<(), CliError> {
    let asked = arguments
        .instruction
        .map(|asked| instructions(asked, model))
        .unwrap_or_default();
    let mut names: Vec<String> = asked
        .iter()
        .map(|instruction| instruction.name().to_owned())
        .collect();
    let mut requests: Vec<Request> = asked.into_iter().map(Request::fixed).collect();
    for question in &arguments.question {
        names.push("question".to_owned());
        requests.push(if arguments.raw_prompt {
            Request::raw(question)
        } else {
            Request::question(question)
        });
    }
    let requests: Vec<Request> = requests
        .into_iter()
        .map(|request| settings(arguments, request))
        .collect();
    let answers = model.ask_frame(before, after, tiling, &requests, budget)?;
    timing.add(&answers.timing);
    let tiles: Vec<Value> = answers
        .tiles
        .iter()
        .map(|tile| {
            json!({
                "rect": json::rect(&tile.rect),
                "answers": tile.answers.iter().map(json::answer).collect::<Vec<_>>(),
            })
        })
        .collect();
    if arguments.json {
        let merged: Vec<Value> = names
            .iter()
            .zip(&answers.merged)
            .map(|(name, merged)| json::merged(name, merged))
            .collect();
        let document = json!({
            "model": json::model(model),
            "answers": merged,
            "tiles": tiles,
            "timing_ms": json::timing(&timing, started),
            "peak_rss_mib": json::peak_rss(),
        });
        return print(&document.to_string());
    }
    for (name, merged) in names.iter().zip(&answers.merged) {
        for line in merged_lines(name, merged) {
            print(&line)?;
        }
    }
    print_engine(model)
}

/// What the model is asked: of a survey, the parts that the bundle knows.
fn instructions(asked: Instruction, model: &Model) -> Vec<Instruction> {
    let known = |part: &Instruction| model.manifest().instruction(*part).is_some();
    match asked.parts() {
        [one] => vec![*one],
        parts => parts.iter().copied().filter(known).collect(),
    }
}

fn settings(arguments: &Arguments, request: Request) -> Request {
    let mut request = request
        .decoding(arguments.decoding.decoding)
        .beams(arguments.decoding.beams);
    if let Some(tokens) = arguments.decoding.max_tokens {
        request = request.max_tokens(tokens);
    }
    request
}

/// A single fixed instruction is the first turn of the dialogue that follows it.
fn first_turn(arguments: &Arguments, answers: &[Answer]) -> Vec<Turn> {
    match (arguments.instruction, answers) {
        (Some(instruction), [answer]) if instruction != Instruction::Survey => {
            vec![answer.as_turn(instruction.prompt())]
        }
        _ => Vec::new(),
    }
}

fn line(answer: &Answer) -> String {
    let sure = format!("{:.0} %", 100.0 * answer.confidence);
    match &answer.content {
        AnswerContent::Classify { changed } => format!(
            "classify: {} ({sure})",
            if *changed { "changed" } else { "not changed" }
        ),
        AnswerContent::Count { roads, buildings } => {
            format!(
                "count: {} roads, {} buildings ({sure})",
                roads.number, buildings.number
            )
        }
        AnswerContent::Localize { roads, buildings } => {
            format!(
                "localize: roads {}  buildings {} ({sure})",
                roads.cells, buildings.cells
            )
        }
        AnswerContent::Unparsed { instruction } => {
            format!(
                "{}: the answer does not parse: {}",
                instruction.name(),
                answer.text
            )
        }
        content => format!("{}: {}", content.instruction_name(), answer.text),
    }
}

/// What a frame answered; places are in its pixels.
fn merged_lines(name: &str, merged: &Merged) -> Vec<String> {
    let place = |rect: &Rect| format!("{}x{} at {},{}", rect.width, rect.height, rect.x, rect.y);
    match merged {
        Merged::Classify {
            changed,
            confidence,
        } => {
            let sure = 100.0 * confidence;
            let changed = if *changed { "changed" } else { "not changed" };
            vec![format!("{name}: {changed} ({sure:.0} %)")]
        }
        Merged::Count { roads, buildings } => {
            vec![format!("{name}: {roads} roads, {buildings} buildings")]
        }
        Merged::Localize {
            roads,
            buildings,
            roads_grid,
            buildings_grid,
        } => {
            let mut lines = vec![format!(
                "{name}: roads {roads_grid}  buildings {buildings_grid}"
            )];
            for (what, places) in [("roads", roads), ("buildings", buildings)] {
                lines.extend(
                    places
                        .iter()
                        .map(|rect| format!("  {what} in {}", place(rect))),
                );
            }
            lines
        }
        Merged::Texts(texts) => texts
            .iter()
            .map(|(rect, text)| format!("{name}: {}: {text}", place(rect)))
            .collect(),
        _ => Vec::new(),
    }
}
