//! The pieces of work that are compared, run on this project's engines and on
//! tract as it is.

use std::path::Path;
use std::time::Instant;

use deltavlm_bundle::{Manifest, Segment};
use deltavlm_runtime::engine::{DecoderStep, Engine, Input, OpTime};
use deltavlm_runtime::{EngineChoice, Model, Options};
use tract_onnx::prelude::*;

use crate::{Failure, median, milliseconds};

/// Tokens of a prompt, after the queries.
const PROMPT: usize = 40;
/// Lengths of the cache when a decoding step is measured.
pub const PASTS: [usize; 2] = [64, 256];
/// Tokens of an instruction to the Q-Former.
const TEXT: usize = 16;

/// One piece of work on one engine.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The work's name, as `peers.py` says it.
    pub work: String,
    /// Who did it.
    pub who: String,
    /// Milliseconds, the median.
    pub ms: f64,
}

/// What a piece of work takes at least.
#[derive(Debug, Clone)]
pub struct Size {
    /// The work's name.
    pub work: String,
    /// Additions and multiplications.
    pub operations: f64,
    /// Bytes of weights and values.
    pub bytes: f64,
}

/// Measures all work on an engine of the runtime; with tract also its size.
///
/// # Errors
/// When the bundle does not open or does not run.
pub fn measure(
    bundle: &Path,
    engine: EngineChoice,
    who: &str,
    threads: usize,
    runs: usize,
) -> Result<(Vec<Measured>, Vec<Size>), Failure> {
    let options = Options {
        engine,
        threads,
        ..Options::default()
    };
    let mut model = Model::open(bundle, &options)?;
    let manifest = model.manifest().clone();
    let engine = model.engine_mut();
    let inputs = Inputs::of(&manifest);
    let mut measured = Vec::new();
    let works = works(&manifest);
    for work in &works {
        let ms = work.time(engine, &inputs, runs)?;
        measured.push(Measured {
            work: work.name.clone(),
            who: who.to_owned(),
            ms,
        });
    }
    let mut sizes = Vec::new();
    if engine.profile().is_some() {
        for work in &works {
            let times = work.run(engine, &inputs, true, || {})?;
            sizes.push(Size {
                work: work.name.clone(),
                operations: times.iter().map(|time| time.operations).sum(),
                bytes: times.iter().map(|time| time.bytes).sum(),
            });
        }
    }
    Ok((measured, sizes))
}

/// A piece of work.
struct Work {
    name: String,
    kind: Kind,
}

enum Kind {
    Stateless(Segment),
    /// New positions after others.
    Decoder {
        past: usize,
        new: usize,
    },
}

fn works(manifest: &Manifest) -> Vec<Work> {
    let segments = [Segment::Vision, Segment::Difference, Segment::Qformer];
    let mut works: Vec<Work> = segments
        .into_iter()
        .map(|segment| Work {
            name: segment.name().to_owned(),
            kind: Kind::Stateless(segment),
        })
        .collect();
    let new = manifest.model.qformer.queries + PROMPT;
    works.push(Work {
        name: "prefill".to_owned(),
        kind: Kind::Decoder { past: 0, new },
    });
    works.extend(PASTS.map(|past| Work {
        name: format!("decode {past}"),
        kind: Kind::Decoder { past, new: 1 },
    }));
    works
}

impl Work {
    fn time(&self, engine: &mut dyn Engine, inputs: &Inputs, runs: usize) -> Result<f64, Failure> {
        let mut times = Vec::new();
        for run in 0..=runs {
            let mut started = Instant::now();
            self.run(engine, inputs, false, || started = Instant::now())?;
            // The first one warms caches up.
            if run > 0 {
                times.push(milliseconds(started));
            }
        }
        Ok(median(times))
    }

    /// `begins` is called when everything is ready. What comes back is a profile of
    /// the work, if it is asked for.
    fn run(
        &self,
        engine: &mut dyn Engine,
        inputs: &Inputs,
        profiled: bool,
        begins: impl FnOnce(),
    ) -> Result<Vec<OpTime>, Failure> {
        match self.kind {
            Kind::Stateless(segment) => {
                let inputs = inputs.of_segment(segment);
                begins();
                engine.run(segment, &inputs)?;
                Ok(if profiled { engine.profile() } else { None }.unwrap_or_default())
            }
            Kind::Decoder { past, new } => {
                let prefill = Positions::new(inputs.llm_width, 0, past);
                let step = Positions::new(inputs.llm_width, past, new);
                let mut sequence = engine.start(1)?;
                if past > 0 {
                    sequence.forward(&prefill.step())?;
                    if profiled {
                        // What fills the cache is no part of the work.
                        sequence.profile();
                    }
                }
                begins();
                sequence.forward(&step.step())?;
                Ok(if profiled { sequence.profile() } else { None }.unwrap_or_default())
            }
        }
    }
}

/// Values for all segments.
struct Inputs {
    image: ([usize; 4], Vec<f32>),
    one: [usize; 3],
    pair: ([usize; 3], Vec<f32>),
    ids: Vec<i64>,
    llm_width: usize,
}

impl Inputs {
    fn of(manifest: &Manifest) -> Self {
        let vision = &manifest.model.vision;
        let image = [1, 3, vision.image_size, vision.image_size];
        let pair = [1, 2 * vision.tokens, vision.width];
        Self {
            image: (image, values(image.iter().product())),
            one: [1, vision.tokens, vision.width],
            pair: (pair, values(pair.iter().product())),
            ids: vec![1; TEXT],
            llm_width: manifest.model.llm.width,
        }
    }

    fn of_segment(&self, segment: Segment) -> Vec<Input<'_>> {
        let (pair, features) = (&self.pair.0, &self.pair.1);
        let half = &features[..features.len() / 2];
        match segment {
            Segment::Vision => vec![Input::f32("image", &self.image.0, &self.image.1)],
            Segment::Difference => vec![
                Input::f32("before", &self.one, half),
                Input::f32("after", &self.one, half),
            ],
            _ => vec![
                Input::f32("difference", pair, features),
                Input::i64("token_ids", &[1, TEXT], &self.ids),
                Input::i64("token_mask", &[1, TEXT], &self.ids),
            ],
        }
    }
}

/// The input of a decoder step.
struct Positions {
    past: usize,
    embeddings: Vec<f32>,
    positions: Vec<i64>,
    bias: Vec<f32>,
}

impl Positions {
    fn new(width: usize, past: usize, new: usize) -> Self {
        let total = past + new;
        let seen = |at: usize| at % total <= past + at / total;
        Self {
            past,
            embeddings: values(new * width),
            positions: (past as i64..total as i64).collect(),
            bias: (0..new * total)
                .map(|at| if seen(at) { 0.0 } else { -1e9 })
                .collect(),
        }
    }

    fn step(&self) -> DecoderStep<'_> {
        DecoderStep {
            rows: 1,
            new: self.positions.len(),
            past: self.past,
            embeddings: &self.embeddings,
            positions: &self.positions,
            bias: &self.bias,
        }
    }
}

/// Values that are neither constant nor denormal.
fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| ((index * 7919) % 2003) as f32 / 1001.0 - 1.0)
        .collect()
}

/// The vision encoder in tract as it is: its own operators, one thread.
///
/// # Errors
/// When tract does not take the graph.
pub fn plain_tract(bundle: &Path, runs: usize) -> Result<f64, Failure> {
    let manifest: Manifest =
        serde_json::from_slice(&std::fs::read(bundle.join(deltavlm_bundle::MANIFEST_FILE))?)?;
    let graph = &manifest.segments[&Segment::Vision].graph;
    let model = tract_onnx::onnx()
        .model_for_path(bundle.join(graph))?
        .into_optimized()?
        .into_runnable()?;
    let (shape, pixels) = Inputs::of(&manifest).image;
    let image = Tensor::from_shape(&shape, &pixels)?;
    let mut times = Vec::new();
    for run in 0..=runs {
        let started = Instant::now();
        model.run(tvec!(image.clone().into()))?;
        if run > 0 {
            times.push(milliseconds(started));
        }
    }
    Ok(median(times))
}
