//! What can be wrong with a bundle, each error naming the file, the field and the remedy.

use std::path::PathBuf;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the bundle cannot be read.
    #[error("{}: {source}; a bundle is a directory made by `dvlm-export build`", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is not the JSON that the format asks for.
    #[error("{}: {source}; rebuild the bundle with `dvlm-export build`", path.display())]
    Json {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The manifest is of another format version.
    #[error("{}: format version {found}, this program reads version {expected}; rebuild the bundle or update the program", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The version that it states.
        found: u32,
        /// The version that this program reads.
        expected: u32,
    },
    /// A field of the manifest contradicts another one or the format.
    #[error("{}: field `{field}`: {problem}; rebuild the bundle with `dvlm-export build`", path.display())]
    Field {
        /// The manifest.
        path: PathBuf,
        /// The field in question.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the bundle is not the one that was exported.
    #[error("{}: {problem}; copy the bundle again or rebuild it with `dvlm-export build`", path.display())]
    Damaged {
        /// The file in question.
        path: PathBuf,
        /// How it differs from its record.
        problem: String,
    },
    /// A tokenizer file is malformed.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
}
