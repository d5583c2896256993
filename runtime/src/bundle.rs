//! A bundle opened for use: manifest, tokenizers and the mapped token table.

use std::path::{Path, PathBuf};

#[cfg(feature = "tract")]
use deltavlm_bundle::Segment;
use deltavlm_bundle::{ElementType, MANIFEST_FILE, Manifest, SentencePiece, WordPiece};
use sha2::{Digest, Sha256};

#[cfg(feature = "tract")]
use crate::error::Cause;
use crate::error::Error;
use crate::mmap::MappedFile;
use crate::options::Check;

/// Bundles up to this size are hashed whenever they are opened.
const HASHED_BY_DEFAULT: u64 = 512 << 20;

#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) directory: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) wordpiece: WordPiece,
    pub(crate) sentencepiece: SentencePiece,
    pub(crate) embedding: TokenTable,
    /// Hash of the manifest, which holds the hash of every file.
    pub(crate) hash: [u8; 32],
}

impl Bundle {
    pub(crate) fn open(directory: &Path, check: Check) -> Result<Self, Error> {
        let manifest = Manifest::read(directory)?;
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        let hashed = match check {
            Check::Auto => bytes <= HASHED_BY_DEFAULT,
            Check::Content => true,
            Check::Size => false,
        };
        if hashed {
            for file in &manifest.files {
                file.check_content(directory)?;
            }
        } else if check == Check::Auto {
            log::info!(
                "{}: {} MiB, sizes checked but not hashed",
                directory.display(),
                bytes >> 20
            );
        }
        let content = std::fs::read(directory.join(MANIFEST_FILE)).map_err(|source| Error::Io {
            path: directory.join(MANIFEST_FILE),
            source,
        })?;
        let words_path = directory.join(&manifest.tokenizers.qformer);
        let pieces_path = directory.join(&manifest.tokenizers.llm);
        let wordpiece = WordPiece::open(&words_path)?;
        let sentencepiece = SentencePiece::open(&pieces_path)?;
        manifest
            .model
            .check_vocabularies((&words_path, &wordpiece), (&pieces_path, &sentencepiece))?;
        Ok(Self {
            wordpiece,
            sentencepiece,
            embedding: TokenTable::open(directory, &manifest)?,
            hash: Sha256::digest(&content).into(),
            directory: directory.to_owned(),
            manifest,
        })
    }

    /// Refuses ids that a table of `rows` rows does not have, before they are looked
    /// up. Opening compares both vocabularies with their tables, so this is about ids
    /// that the manifest itself brings.
    pub(crate) fn expect_ids(&self, ids: &[u32], rows: usize, table: &str) -> Result<(), Error> {
        match ids.iter().find(|&&id| id as usize >= rows) {
            None => Ok(()),
            Some(id) => Err(self.unfit(format!(
                "the id {id} is outside the {rows} rows of the {table}; rebuild it"
            ))),
        }
    }

    pub(crate) fn unfit(&self, problem: String) -> Error {
        Error::Unfit {
            path: self.directory.clone(),
            problem,
            source: None,
        }
    }

    /// A segment that the engine tract refuses.
    #[cfg(feature = "tract")]
    pub(crate) fn unloadable(&self, segment: Segment, source: Cause) -> Error {
        Error::Unfit {
            path: self.directory.clone(),
            // With what lies below it, as tract's errors write it.
            problem: format!(
                "segment `{}` does not load in tract: {source:#}",
                segment.name()
            ),
            source: Some(source),
        }
    }
}

/// The language model's token table, used where it lies in the file.
#[derive(Debug)]
pub(crate) struct TokenTable {
    map: MappedFile,
    rows: usize,
    width: usize,
    element: ElementType,
}

impl TokenTable {
    fn open(directory: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let record = &manifest.embedding;
        let path = directory.join(&record.file);
        let map = MappedFile::open(&path)?;
        let size = match record.element {
            ElementType::F32 => 4,
            ElementType::F16 => 2,
        };
        let expected = record.rows * record.width * size;
        if map.len() != expected {
            return Err(Error::Bundle(deltavlm_bundle::Error::Damaged {
                path,
                problem: format!("{} bytes where the token table has {expected}", map.len()),
            }));
        }
        Ok(Self {
            map,
            rows: record.rows,
            width: record.width,
            element: record.element,
        })
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Appends the row of a token.
    pub(crate) fn append(&self, id: u32, out: &mut Vec<f32>) {
        // Ids come from the tokenizer or from the logits; one beyond the table
        // (a tokenizer with more pieces than the model) reads as padding.
        let row = (id as usize).min(self.rows - 1);
        match self.element {
            ElementType::F32 => {
                let bytes = &self.map[row * self.width * 4..][..self.width * 4];
                out.extend(
                    bytes
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                );
            }
            ElementType::F16 => {
                let bytes = &self.map[row * self.width * 2..][..self.width * 2];
                let value = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
                out.extend(bytes.chunks_exact(2).map(value));
            }
        }
    }
}
