//! `dvlm eval`: answers against annotations.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use deltavlm_cli::CliError;
use deltavlm_cli::eval::{self, Outcome, PairEntries, Report, Settings};
use deltavlm_runtime::Model;
use serde_json::{Value, json};

use crate::common::{DecodingArguments, EngineArguments, bar, print, print_engine};
use crate::json;

/// Measures answers against ChangeChat-105k annotations.
///
/// Prints the paper's metrics, METEOR excepted, which needs Java and WordNet. Where
/// annotations name categories, kinds of questions or the truth of a pair, as those of
/// models/nano do, false alarms, exact answers and true facts are counted by them.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Bundle directories; several are compared.
    #[arg(long, value_name = "DIR", required = true)]
    bundle: Vec<PathBuf>,
    /// Annotation files; the end of the name says the task.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    annotations: Vec<PathBuf>,
    /// Directory that the picture names are relative to.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Stop after this many pairs.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write every answer to this file, one JSON line each; a run that was broken
    /// off continues from it. With several bundles, the bundle's id is put before
    /// the extension.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
    #[command(flatten)]
    decoding: DecodingArguments,
    /// Print one JSON document; with several bundles one per line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut entries = Vec::new();
    for path in &arguments.annotations {
        entries.extend(eval::read(path)?);
    }
    let mut pairs = eval::by_pair(entries);
    if let Some(limit) = arguments.limit {
        pairs.truncate(limit);
    }
    let mut reports = Vec::new();
    for bundle in &arguments.bundle {
        let mut model = Model::open(bundle, &arguments.engine.options())?;
        let outcomes = answer_all(arguments, &mut model, &pairs)?;
        let report = eval::score(&outcomes);
        if arguments.json {
            let mut document = serde_json::to_value(&report).unwrap_or(Value::Null);
            document["model"] = json::model(&model);
            document["pairs"] = pairs.len().into();
            print(&document.to_string())?;
        } else {
            print_engine(&model)?;
        }
        reports.push((model.id().to_owned(), report));
    }
    if arguments.json {
        Ok(())
    } else {
        table(&reports)
    }
}

fn answer_all(
    arguments: &Arguments,
    model: &mut Model,
    pairs: &[PairEntries],
) -> Result<Vec<Outcome>, CliError> {
    let settings = Settings {
        decoding: arguments.decoding.decoding,
        beams: arguments.decoding.beams,
        max_tokens: arguments.decoding.max_tokens,
    };
    let path = arguments
        .answers
        .as_ref()
        .map(|path| answers_file(path, arguments.bundle.len(), model.id()));
    let mut outcomes = match &path {
        Some(path) => known(path, model.id(), &settings.to_string())?,
        None => Vec::new(),
    };
    if !outcomes.is_empty() {
        eprintln!("continuing after {} answers", outcomes.len());
    }
    let wanted: HashSet<[String; 2]> = pairs.iter().map(|pair| pair.image.clone()).collect();
    let done: HashSet<String> = outcomes.iter().map(Outcome::key).collect();
    let mut file = path.as_deref().map(append).transpose()?;
    let progress = bar(pairs.len(), "pairs");
    for pair in pairs {
        let fresh = eval::answer(model, &arguments.images, pair, &settings, &done)?;
        if let (Some(file), Some(path)) = (&mut file, &path) {
            for outcome in &fresh {
                let line = json!(outcome).to_string() + "\n";
                file.write_all(line.as_bytes())
                    .map_err(|source| io(path, source))?;
            }
        }
        outcomes.extend(fresh);
        progress.inc(1);
    }
    progress.finish_and_clear();
    outcomes.retain(|outcome| wanted.contains(&outcome.image));
    Ok(outcomes)
}

fn answers_file(path: &Path, bundles: usize, id: &str) -> PathBuf {
    if bundles == 1 {
        return path.to_owned();
    }
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("jsonl");
    path.with_extension(format!("{id}.{extension}"))
}

/// Answers of an earlier run by the same model in the same way. A last line that was
/// broken off is taken away and answered again.
fn known(path: &Path, model: &str, decoding: &str) -> Result<Vec<Outcome>, CliError> {
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io(path, source)),
    };
    let malformed = |line: usize, problem: String| CliError::Malformed {
        path: path.to_owned(),
        problem: format!("line {line}: {problem}; name another `--answers` file"),
    };
    let end = content.iter().rposition(|&byte| byte == b'\n');
    let (whole, broken) = content.split_at(end.map_or(0, |at| at + 1));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, line) in whole.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let outcome: Outcome = serde_json::from_slice(line)
            .map_err(|error| malformed(index + 1, error.to_string()))?;
        if (outcome.model.as_str(), outcome.decoding.as_str()) != (model, decoding) {
            let problem = format!("answered by {}, {}", outcome.model, outcome.decoding);
            return Err(malformed(index + 1, problem));
        }
        outcomes.push(outcome);
    }
    match broken.first() {
        None => {}
        // A power cut may leave zeros.
        Some(b'{' | 0) => {
            let file = OpenOptions::new().write(true).open(path);
            file.and_then(|file| file.set_len(whole.len() as u64))
                .map_err(|source| io(path, source))?;
        }
        Some(_) => {
            let problem = "not a line of answers".to_owned();
            return Err(malformed(outcomes.len() + 1, problem));
        }
    }
    Ok(outcomes)
}

fn append(path: &Path) -> Result<File, CliError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> CliError {
    CliError::Io {
        path: path.to_owned(),
        source,
    }
}

/// One column per bundle.
fn table(reports: &[(String, Report)]) -> Result<(), CliError> {
    let columns: Vec<Vec<(String, f64)>> = reports.iter().map(|(_, report)| rows(report)).collect();
    let width = reports
        .iter()
        .map(|(id, _)| id.len())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut head = format!("{:<42}", "");
    for (id, _) in reports {
        head += &format!("  {id:>width$}");
    }
    print(&head)?;
    for (index, (name, _)) in columns[0].iter().enumerate() {
        let mut line = format!("{name:<42}");
        for column in &columns {
            line += &format!(
                "  {:>width$.4}",
                column.get(index).map_or(f64::NAN, |(_, value)| *value)
            );
        }
        print(&line)?;
    }
    Ok(())
}

/// Every number of a report with its path.
fn rows(report: &Report) -> Vec<(String, f64)> {
    fn walk(prefix: &str, value: &Value, rows: &mut Vec<(String, f64)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if prefix.is_empty() {
                        name.clone()
                    } else {
                        format!("{prefix}.{name}")
                    };
                    walk(&path, value, rows);
                }
            }
            value => rows.extend(value.as_f64().map(|number| (prefix.to_owned(), number))),
        }
    }
    let mut rows = Vec::new();
    walk(
        "",
        &serde_json::to_value(report).unwrap_or(Value::Null),
        &mut rows,
    );
    rows
}
