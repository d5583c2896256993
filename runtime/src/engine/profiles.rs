//! Shape profiles for TensorRT: every symbolic dimension with its least, usual and
//! greatest value, so that an engine is built once and never again.

use deltavlm_bundle::{Manifest, Segment};

/// The most rows that run together: a survey, or five beams.
const MAX_ROWS: usize = 5;

/// Three lists `name:1x2x3,...`; empty for a segment without symbolic dimensions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) min: String,
    pub(super) opt: String,
    pub(super) max: String,
}

pub(super) fn of(manifest: &Manifest, segment: Segment) -> Profile {
    let (vision, qformer, llm) = (
        &manifest.model.vision,
        &manifest.model.qformer,
        &manifest.model.llm,
    );
    match segment {
        Segment::Vision | Segment::Difference | Segment::Mask => Profile::default(),
        Segment::Qformer => {
            let shapes = |rows: usize, length: usize| {
                list(&[
                    (
                        "difference".to_owned(),
                        vec![1, 2 * vision.tokens, vision.width],
                    ),
                    ("token_ids".to_owned(), vec![rows, length]),
                    ("token_mask".to_owned(), vec![rows, length]),
                ])
            };
            Profile {
                min: shapes(1, 1),
                opt: shapes(1, 24),
                max: shapes(MAX_ROWS, qformer.max_text_tokens),
            }
        }
        Segment::Decoder => {
            let shapes = |rows: usize, new: usize, past: usize| {
                let mut shapes = vec![
                    ("embeddings".to_owned(), vec![rows, new, llm.width]),
                    ("positions".to_owned(), vec![rows, new]),
                    ("attention_bias".to_owned(), vec![rows, 1, new, past + new]),
                ];
                for layer in 0..llm.layers {
                    for part in ["key", "value"] {
                        shapes.push((
                            format!("past.{layer}.{part}"),
                            vec![rows, llm.kv_heads, past, llm.head_dim],
                        ));
                    }
                }
                list(&shapes)
            };
            let longest = llm
                .max_positions
                .min(qformer.queries + 256 + manifest.generation.max_new_tokens);
            Profile {
                min: shapes(1, 1, 0),
                opt: shapes(1, 1, qformer.queries + 32),
                max: shapes(MAX_ROWS, longest, longest),
            }
        }
    }
}

fn list(shapes: &[(String, Vec<usize>)]) -> String {
    let one = |(name, shape): &(String, Vec<usize>)| {
        let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
        format!("{name}:{}", sides.join("x"))
    };
    shapes.iter().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #[test]
    fn shapes_are_written_as_the_provider_reads_them() {
        let shapes = [("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![3])];
        assert_eq!(super::list(&shapes), "a:1x2,b:3");
    }
}
