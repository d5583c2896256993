//! The configuration of the on-board program: one TOML file, read in full before anything runs.
//!
//! Reading finds every problem at once instead of stopping at the first, because a
//! board is often far away and each attempt costs a flight or a pass.

mod check;
mod link;
mod pattern;
mod reader;

pub use check::{check, check_file};
pub use link::LinkConfig;
pub use pattern::{PICTURE_EXTENSIONS, Pattern, PatternError};
pub use reader::{Problem, Severity};

use deltavlm_imaging::DecodeOptions;
use reader::{Section, unknown};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Everything that the on-board program can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The model.
    pub model: ModelConfig,
    /// Where pictures come from.
    pub watch: WatchConfig,
    /// How to reach the ground.
    pub link: LinkConfig,
    /// What is worth an alert.
    pub alert: AlertConfig,
    /// What the ground may ask.
    pub query: QueryConfig,
    /// How often to report on the board itself.
    pub health: HealthConfig,
    /// Where state is kept.
    pub spool: SpoolConfig,
}

/// `[model]`
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// `auto`, `tract` or `ort`.
    pub engine: String,
    /// The ONNX Runtime library, where the engine is `ort`.
    pub ort_library: Option<PathBuf>,
    /// Threads for inference; 0 leaves the choice to the engine.
    pub threads: usize,
    /// The value of 16-bit pictures that is white; 0 stands for 65535.
    pub white: u16,
    /// The longest time that one pair or one question may take.
    pub deadline: Duration,
}

/// `[watch]`
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Pictures of the earlier pass.
    pub before: Pattern,
    /// Pictures of the present pass.
    pub after: Pattern,
    /// Time between two looks at the folders.
    pub poll: Duration,
    /// A file is read once it has not changed for this long.
    pub settle: Duration,
    /// An after-picture whose before-picture has not come for this long is reported.
    pub missing_after: Duration,
}

/// `[alert]`
#[derive(Debug, Clone, Copy)]
pub struct AlertConfig {
    /// The confidence from which a change is an alert.
    pub min_confidence: f32,
}

/// `[query]`
#[derive(Debug, Clone, Copy)]
pub struct QueryConfig {
    /// Questions that may wait; more are refused.
    pub queue: usize,
    /// Questions in a minute; more are refused.
    pub per_minute: u32,
}

/// `[health]`
#[derive(Debug, Clone, Copy)]
pub struct HealthConfig {
    /// Time between two health messages; zero for none.
    pub every: Duration,
}

/// `[spool]`
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// A directory of this program's own that survives a restart.
    pub dir: PathBuf,
}

const SECTIONS: [&str; 7] = [
    "model", "watch", "link", "alert", "query", "health", "spool",
];

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// Every problem that reading alone can find; [`check_file`] looks at the machine as well.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        Draft::read(path).finished()
    }

    /// Reads a configuration; relative paths in it start at `base`.
    ///
    /// # Errors
    /// Every problem found.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<Problem>> {
        Draft::parse("configuration", text, base).finished()
    }
}

/// As much of a configuration as could be read, and what is wrong with the rest.
#[derive(Debug, Default)]
struct Draft {
    model: Option<ModelConfig>,
    watch: Option<WatchConfig>,
    link: Option<LinkConfig>,
    alert: Option<AlertConfig>,
    query: Option<QueryConfig>,
    health: Option<HealthConfig>,
    spool: Option<SpoolConfig>,
    problems: Vec<Problem>,
}

impl Draft {
    fn read(path: &Path) -> Self {
        let place = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&place, &text, path.parent().unwrap_or(Path::new("."))),
            Err(error) => {
                let message = format!("{error}; give the configuration with --config");
                Self {
                    problems: vec![Problem::error(place, message)],
                    ..Self::default()
                }
            }
        }
    }

    fn parse(place: &str, text: &str, base: &Path) -> Self {
        let mut file = match text.parse::<toml::Table>() {
            Ok(file) => file,
            // A syntax error has no field; it says which line.
            Err(error) => {
                return Self {
                    problems: vec![Problem::error(place, error.to_string().trim())],
                    ..Self::default()
                };
            }
        };
        let mut problems = Vec::new();
        let draft = Self {
            model: ModelConfig::take(&mut file, base, &mut problems),
            watch: WatchConfig::take(&mut file, base, &mut problems),
            link: LinkConfig::take(&mut file, base, &mut problems),
            alert: Some(AlertConfig::take(&mut file, &mut problems)),
            query: Some(QueryConfig::take(&mut file, &mut problems)),
            health: Some(HealthConfig::take(&mut file, &mut problems)),
            spool: SpoolConfig::take(&mut file, base, &mut problems),
            problems: Vec::new(),
        };
        for name in file.keys() {
            problems.push(Problem::error(name, unknown("section", name, &SECTIONS)));
        }
        Self { problems, ..draft }
    }

    fn finished(self) -> Result<Config, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        // A section that could not be read has left a problem.
        let complete = || {
            Some(Config {
                model: self.model?,
                watch: self.watch?,
                link: self.link?,
                alert: self.alert?,
                query: self.query?,
                health: self.health?,
                spool: self.spool?,
            })
        };
        complete().ok_or_else(Vec::new)
    }
}

impl ModelConfig {
    /// What a picture may cost, and which value of it is white.
    pub(crate) fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            white: (self.white > 0).then_some(f64::from(self.white)),
            ..DecodeOptions::default()
        }
    }

    fn take(file: &mut toml::Table, base: &Path, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::take("model", file, problems);
        let bundle = section.required::<PathBuf>("bundle");
        let engine = section
            .optional("engine")
            .unwrap_or_else(|| "auto".to_owned());
        if !["auto", "tract", "ort"].contains(&engine.as_str()) {
            section.fault(
                "engine",
                format!("`{engine}` is no engine; write auto, tract or ort"),
            );
        }
        let ort_library = section
            .optional::<PathBuf>("ort_library")
            .map(|path| base.join(path));
        let threads = section.within("threads", 0, (0, 64));
        let white = section.within("white", 0, (0, u16::MAX));
        let deadline = seconds(&mut section, "deadline_s", 120.0, (0.1, 86_400.0));
        section.finish();
        Some(Self {
            bundle: base.join(bundle?),
            engine,
            ort_library,
            threads,
            white,
            deadline,
        })
    }
}

impl WatchConfig {
    fn take(file: &mut toml::Table, base: &Path, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::take("watch", file, problems);
        let mut pattern = |key| {
            let text: String = section.required(key)?;
            Pattern::new(&text, base)
                .map_err(|error| section.fault(key, error.to_string()))
                .ok()
        };
        let (mut before, mut after) = (pattern("before"), pattern("after"));
        if before.is_some() && before == after {
            section.fault(
                "after",
                "is the same as `before`; name two folders or two patterns",
            );
        }
        if let Some(extensions) = section.optional::<Vec<String>>("extensions") {
            if extensions.is_empty() {
                section.fault("extensions", "is empty; write e.g. [\"jpg\", \"png\"]");
            }
            before = before.map(|pattern| pattern.with_extensions(&extensions));
            after = after.map(|pattern| pattern.with_extensions(&extensions));
        }
        let poll = seconds(&mut section, "poll_s", 1.0, (0.05, 3600.0));
        let settle = seconds(&mut section, "settle_s", 2.0, (0.0, 3600.0));
        let missing_after = seconds(&mut section, "missing_after_s", 300.0, (0.0, 1e6));
        section.finish();
        Some(Self {
            before: before?,
            after: after?,
            poll,
            settle,
            missing_after,
        })
    }
}

impl AlertConfig {
    fn take(file: &mut toml::Table, problems: &mut Vec<Problem>) -> Self {
        let mut section = Section::take("alert", file, problems);
        let min_confidence = section.within("min_confidence", 0.5, (0.5, 1.0));
        section.finish();
        Self { min_confidence }
    }
}

impl QueryConfig {
    fn take(file: &mut toml::Table, problems: &mut Vec<Problem>) -> Self {
        let mut section = Section::take("query", file, problems);
        let queue = section.within("queue", 8, (1, 64));
        let per_minute = section.within("per_minute", 30, (1, 6000));
        section.finish();
        Self { queue, per_minute }
    }
}

impl HealthConfig {
    fn take(file: &mut toml::Table, problems: &mut Vec<Problem>) -> Self {
        let mut section = Section::take("health", file, problems);
        let every = seconds(&mut section, "every_s", 300.0, (0.0, 1e6));
        section.finish();
        Self { every }
    }
}

impl SpoolConfig {
    fn take(file: &mut toml::Table, base: &Path, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut section = Section::take("spool", file, problems);
        let dir = section.required::<PathBuf>("dir");
        section.finish();
        Some(Self {
            dir: base.join(dir?),
        })
    }
}

fn seconds(
    section: &mut Section<'_>,
    key: &'static str,
    default: f64,
    bounds: (f64, f64),
) -> Duration {
    Duration::from_secs_f64(section.within(key, default, bounds))
}

#[cfg(test)]
mod tests;
