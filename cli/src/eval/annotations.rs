//! Reading annotation files in the ChangeChat-105k schema.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::facts::{self, Facts, Language};
use crate::error::CliError;

/// What an annotation file asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Task {
    /// Describe the change.
    Caption,
    /// Has anything changed?
    Classify,
    /// How many?
    Count,
    /// Where?
    Localize,
    /// Open questions.
    Question,
    /// Several turns.
    Dialog,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 6] = [
        Self::Caption,
        Self::Classify,
        Self::Count,
        Self::Localize,
        Self::Question,
        Self::Dialog,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caption => "caption",
            Self::Classify => "classify",
            Self::Count => "count",
            Self::Localize => "localize",
            Self::Question => "question",
            Self::Dialog => "dialog",
        }
    }

    /// The task of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// `changechat_105k_test_count.json` is about counts; without an ending of its
    /// own a file holds captions.
    fn of_file(path: &Path) -> Self {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        match stem
            .rsplit('_')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "binary" | "classify" => Self::Classify,
            "count" => Self::Count,
            "loc" | "localize" | "localise" => Self::Localize,
            "open" | "question" => Self::Question,
            "dialog" | "dialogue" => Self::Dialog,
            _ => Self::Caption,
        }
    }
}

/// One annotation: a pair, and one or more turns about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it asks.
    pub task: Task,
    /// Unique within its task.
    pub id: String,
    /// Paths of before and after, relative to the images directory.
    pub image: [String; 2],
    /// Whether the pair is marked as changed, where the file says so.
    pub changed: Option<bool>,
    /// What sort of pair it is, where the file says so.
    pub category: Option<String>,
    /// What sort of question it is, where the file says so.
    pub kind: Option<String>,
    /// What is true of the pair, and the language of captions about it, where the
    /// file says so.
    pub truth: Option<(Arc<Language>, Facts)>,
    /// Questions with their reference answers.
    pub turns: Vec<Reference>,
}

/// A question and what it may be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The question.
    pub question: String,
    /// Reference answers, at least one.
    pub references: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    id: Value,
    image: Vec<String>,
    changeflag: Option<Value>,
    conversations: Vec<Said>,
    #[serde(default)]
    captions: Vec<String>,
    category: Option<String>,
    kind: Option<String>,
    facts: Option<Facts>,
}

#[derive(Deserialize)]
struct Said {
    from: String,
    value: String,
}

/// Reads an annotation file. Several captions of one pair, in one entry or in
/// several, become the references of one entry. A `language.json` beside the file
/// is read with it, and holds no annotations itself.
///
/// # Errors
/// [`CliError::Io`], [`CliError::Malformed`].
pub fn read(path: &Path) -> Result<Vec<Entry>, CliError> {
    if path.file_name().is_some_and(|name| name == facts::FILE) {
        return Ok(Vec::new());
    }
    let malformed = |problem: String| CliError::Malformed {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Io {
        path: path.to_owned(),
        source,
    })?;
    let raw: Vec<Raw> = serde_json::from_str(&text).map_err(|error| {
        malformed(format!(
            "{error}; expected an array of ChangeChat-105k entries"
        ))
    })?;
    let task = Task::of_file(path);
    let language = Language::beside(path)?.map(Arc::new);
    let mut entries: Vec<Entry> = Vec::new();
    let mut captioned: HashMap<[String; 2], usize> = HashMap::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let entry = entry(task, raw, language.as_ref())
            .map_err(|problem| malformed(format!("entry {index}: {problem}")))?;
        if task == Task::Caption {
            let place = *captioned
                .entry(entry.image.clone())
                .or_insert(entries.len());
            if let Some(known) = entries.get_mut(place) {
                for reference in &entry.turns[0].references {
                    if !known.turns[0].references.contains(reference) {
                        known.turns[0].references.push(reference.clone());
                    }
                }
                continue;
            }
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(task: Task, raw: Raw, language: Option<&Arc<Language>>) -> Result<Entry, String> {
    let image: [String; 2] = raw
        .image
        .try_into()
        .map_err(|_| "`image` does not name two pictures".to_owned())?;
    let mut turns = Vec::new();
    for pair in raw.conversations.chunks(2) {
        let [human, gpt] = pair else {
            return Err("a question without an answer".to_owned());
        };
        if human.from != "human" || gpt.from != "gpt" {
            return Err(format!(
                "turns are `{}` and `{}` instead of `human` and `gpt`",
                human.from, gpt.from
            ));
        }
        turns.push(Reference {
            question: human.value.replace("<image>", "").trim().to_owned(),
            references: vec![gpt.value.trim().to_owned()],
        });
    }
    if turns.is_empty() {
        return Err("no turns".to_owned());
    }
    if task == Task::Caption && !raw.captions.is_empty() {
        turns[0].references = raw
            .captions
            .iter()
            .map(|caption| caption.trim().to_owned())
            .collect();
    }
    let truth = match (language, raw.facts) {
        (Some(language), Some(facts)) => {
            language.check(&facts)?;
            Some((Arc::clone(language), facts))
        }
        _ => None,
    };
    Ok(Entry {
        task,
        id: raw
            .id
            .as_str()
            .map_or_else(|| raw.id.to_string(), str::to_owned),
        image,
        changed: raw
            .changeflag
            .and_then(|flag| flag.as_bool().or_else(|| Some(flag.as_i64()? != 0))),
        category: raw.category,
        kind: raw.kind,
        truth,
        turns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Vec<Entry>, CliError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn captions_of_one_pair_become_its_references() {
        let entry = |id: &str, caption: &str| {
            format!(
                r#"{{"id":"{id}","image":["A/x.png","B/x.png"],"changeflag":1,"conversations":[
                {{"from":"human","value":"<image>\nDescribe."}},{{"from":"gpt","value":"{caption}"}}]}}"#
            )
        };
        let text = format!("[{},{}]", entry("1", "a road"), entry("2", "a house"));
        let entries = read_text("changechat_105k_test.json", &text).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].turns[0].references, ["a road", "a house"]);
        assert_eq!(entries[0].turns[0].question, "Describe.");
        assert_eq!(entries[0].changed, Some(true));
    }

    #[test]
    fn the_file_name_says_what_is_asked() {
        for (name, task) in [
            ("changechat_105k_test.json", Task::Caption),
            ("changechat_105k_test_binary.json", Task::Classify),
            ("changechat_105k_test_loc.json", Task::Localize),
            ("x_dialog.json", Task::Dialog),
        ] {
            assert_eq!(Task::of_file(Path::new(name)), task, "{name}");
        }
    }

    #[test]
    fn truth_is_read_with_the_language_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let path = write(
            "x_test.json",
            r#"[{"id":1,"image":["a","b"],"category":"changed","facts":{"changed":true,"former_ground":"",
            "woodland_cleared":false,"true_places":[],"houses_added":1,"houses_removed":0},
            "conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a house is built"}]}]"#,
        );
        assert!(read(&path).unwrap()[0].truth.is_none());
        let language = |field: &str| {
            let text = format!(
                r#"{{"unchanged":[],"quantities":{{"a":[1,1]}},"things":{{"house":["houses_added","{field}"]}},
                "gone":["remov"],"cuts":[],"cleared":"trees ","grounds":[],"places":[]}}"#
            );
            write(facts::FILE, &text)
        };
        let vocabulary = language("houses_removed");
        assert!(read(&vocabulary).unwrap().is_empty());
        let entry = &read(&path).unwrap()[0];
        assert_eq!(entry.category.as_deref(), Some("changed"));
        let (language_of, facts) = entry.truth.as_ref().unwrap();
        assert!(language_of.stated("a house is built", facts).all_true());
        assert!(!language_of.stated("a house is removed", facts).all_true());
        language("houses_gone");
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("entry 0: `facts` has no number `houses_gone`"),
            "{error}"
        );
    }

    #[test]
    fn a_faulty_entry_is_named() {
        let error =
            read_text("a.json", r#"[{"id":1,"image":["a"],"conversations":[]}]"#).unwrap_err();
        assert!(error.to_string().contains("entry 0: `image`"), "{error}");
        assert!(read_text("a.json", "{").is_err());
    }
}
