//! A manifest against itself: every name a plain file that is recorded, every
//! dimension possible, every id inside its vocabulary.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use deltavlm_messages::Instruction;

use crate::{Error, Manifest, Model, Segment, SentencePiece, WordPiece};

impl Model {
    /// Refuses a vocabulary with ids that the model has no row for: such an id would
    /// reach outside its table.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] names the file, both sizes and the remedy.
    pub fn check_vocabularies(
        &self,
        (words_path, words): (&Path, &WordPiece),
        (pieces_path, pieces): (&Path, &SentencePiece),
    ) -> Result<(), Error> {
        let check = |path: &Path, entries: usize, rows: usize, part: &str| {
            if entries <= rows {
                return Ok(());
            }
            let problem = format!(
                "has {entries} entries, and the {part} has rows for {rows}; take the vocabulary that belongs to the weights"
            );
            Err(Error::Tokenizer {
                path: path.to_owned(),
                problem,
            })
        };
        check(words_path, words.len(), self.qformer.vocab_size, "Q-Former")?;
        check(
            pieces_path,
            pieces.len(),
            self.llm.vocab_size,
            "language model",
        )
    }
}

/// `[CLS]` and `[SEP]` stand around every text.
const MIN_TEXT_TOKENS: usize = 2;

impl Manifest {
    /// Finds the first field that contradicts another one or the format.
    pub(crate) fn check(&self, path: &Path) -> Result<(), Error> {
        let fault = |field: &str, problem: String| {
            Err(Error::Field {
                path: path.to_owned(),
                field: field.to_owned(),
                problem,
            })
        };

        for file in &self.files {
            if !is_plain_name(&file.path) {
                return fault(
                    "files.path",
                    format!("`{}` is not a plain file name", file.path),
                );
            }
        }
        let recorded: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        for (field, name) in self.named_files() {
            if !recorded.contains(name) {
                return fault(&field, format!("`{name}` is not among `files`"));
            }
        }
        for segment in Segment::ALL {
            if segment != Segment::Mask && !self.segments.contains_key(&segment) {
                return fault("segments", format!("`{}` is missing", segment.name()));
            }
        }
        for record in &self.instructions {
            if !Instruction::SINGLE.contains(&record.name) {
                let problem = format!("`{}` has no prompt of its own", record.name.name());
                return fault("instructions.name", problem);
            }
        }
        for (field, value) in self.dimensions() {
            if value == 0 {
                return fault(field, "is 0".to_owned());
            }
        }

        if self.model.qformer.max_text_tokens < MIN_TEXT_TOKENS {
            let problem = format!("is below {MIN_TEXT_TOKENS}, which the special tokens take");
            return fault("model.qformer.max_text_tokens", problem);
        }

        let vision = &self.model.vision;
        if !vision.image_size.is_multiple_of(vision.patch_size) {
            let problem = format!("is not a multiple of patch_size {}", vision.patch_size);
            return fault("model.vision.image_size", problem);
        }
        let patches = (vision.image_size / vision.patch_size).pow(2);
        if vision.tokens != patches + 1 {
            let problem = format!(
                "is {} where the patch grid gives {}",
                vision.tokens,
                patches + 1
            );
            return fault("model.vision.tokens", problem);
        }
        let llm = &self.model.llm;
        if !llm.heads.is_multiple_of(llm.kv_heads) {
            return fault("model.llm.kv_heads", "does not divide `heads`".to_owned());
        }
        let table = &self.embedding;
        if (table.rows, table.width) != (llm.vocab_size, llm.width) {
            let problem = format!(
                "is {}x{} where the language model has {}x{}",
                table.rows, table.width, llm.vocab_size, llm.width
            );
            return fault("embedding", problem);
        }
        if let Some(trust) = &self.trust
            && trust.rank.max(trust.place_rank) > vision.width
        {
            let problem = format!("is above model.vision.width {}", vision.width);
            return fault("trust.rank", problem);
        }
        for record in &self.instructions {
            let name = record.name.name();
            let outside = |ids: &[u32], size: usize| ids.iter().any(|&id| id as usize >= size);
            if outside(&record.qformer_ids, self.model.qformer.vocab_size)
                || outside(&record.llm_ids, llm.vocab_size)
            {
                return fault(
                    "instructions",
                    format!("`{name}` has an id outside its vocabulary"),
                );
            }
        }
        Ok(())
    }

    fn named_files(&self) -> Vec<(String, &str)> {
        let mut names = vec![
            ("embedding.file".to_owned(), self.embedding.file.as_str()),
            (
                "tokenizers.qformer".to_owned(),
                self.tokenizers.qformer.as_str(),
            ),
            ("tokenizers.llm".to_owned(), self.tokenizers.llm.as_str()),
        ];
        if let Some(trust) = &self.trust {
            names.push(("trust.file".to_owned(), &trust.file));
        }
        for (segment, record) in &self.segments {
            names.push((format!("segments.{}.graph", segment.name()), &record.graph));
            names.push((
                format!("segments.{}.weights", segment.name()),
                &record.weights,
            ));
        }
        names
    }

    fn dimensions(&self) -> [(&'static str, usize); 18] {
        let (vision, qformer, llm) = (&self.model.vision, &self.model.qformer, &self.model.llm);
        [
            ("model.vision.image_size", vision.image_size),
            ("model.vision.patch_size", vision.patch_size),
            ("model.vision.depth", vision.depth),
            ("model.vision.width", vision.width),
            ("model.vision.heads", vision.heads),
            ("model.qformer.width", qformer.width),
            ("model.qformer.layers", qformer.layers),
            ("model.qformer.heads", qformer.heads),
            ("model.qformer.queries", qformer.queries),
            ("model.qformer.max_text_tokens", qformer.max_text_tokens),
            ("model.qformer.vocab_size", qformer.vocab_size),
            ("model.llm.width", llm.width),
            ("model.llm.layers", llm.layers),
            ("model.llm.heads", llm.heads),
            ("model.llm.kv_heads", llm.kv_heads),
            ("model.llm.head_dim", llm.head_dim),
            ("model.llm.vocab_size", llm.vocab_size),
            ("model.llm.max_positions", llm.max_positions),
        ]
    }
}

/// A name without directories: nothing a manifest says may reach outside its bundle.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}
