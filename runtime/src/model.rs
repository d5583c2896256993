//! A bundle with an engine: pairs are encoded, questions answered.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use deltavlm_bundle::{Manifest, Segment};
use deltavlm_imaging::{Image, ImageSource, normalise, resize};
use deltavlm_messages::Instruction;

use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::cache::{FeatureCache, round_to_f16};
use crate::decode::Automaton;
use crate::engine::{self, Engine, EngineReport, Input};
use crate::error::{Error, RequestError};
use crate::finding::Fuser;
use crate::mask::Mask;
use crate::memory::MemoryEstimate;
use crate::options::Options;
use crate::pair::Pair;
use crate::timing::Timing;
use crate::timing::{ms_since, timed};
use crate::trust::TrustScorer;

/// A bundle, opened and ready to answer. One thread uses it at a time; it may move
/// between threads.
pub struct Model {
    pub(crate) bundle: Bundle,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) grammars: HashMap<Instruction, Automaton>,
    pub(crate) fuser: Fuser,
    trust: Option<TrustScorer>,
    cache: FeatureCache,
    options: Options,
    load_ms: f64,
}

impl Model {
    /// Opens a bundle directory: checks its files, compares the memory it needs with
    /// what there is, loads the segments and compiles the answer grammars.
    ///
    /// # Errors
    /// Every variant of [`Error`] that concerns a bundle, an engine or the machine.
    pub fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let started = Instant::now();
        let bundle = Bundle::open(directory.as_ref(), options.check)?;
        let engine = engine::open(&bundle, options)?;
        let mut grammars = HashMap::new();
        for record in &bundle.manifest.instructions {
            if let Some(grammar) = &record.grammar {
                let tokens = bundle.manifest.model.llm.vocab_size;
                let automaton = Automaton::compile(grammar, &bundle.sentencepiece, tokens)
                    .map_err(|problem| {
                        bundle.unfit(format!("grammar of `{}`: {problem}", record.name.name()))
                    })?;
                grammars.insert(record.name, automaton);
            }
        }
        Ok(Self {
            engine,
            grammars,
            fuser: Fuser::new(&bundle),
            trust: TrustScorer::open(&bundle)?,
            cache: FeatureCache::new(&options.cache),
            options: options.clone(),
            load_ms: ms_since(started),
            bundle,
        })
    }

    /// The bundle's id: model name, precision, hash.
    pub fn id(&self) -> &str {
        &self.bundle.manifest.id
    }

    /// The bundle's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.bundle.manifest
    }

    /// What runs the segments, and why.
    pub fn engine(&self) -> &EngineReport {
        self.engine.report()
    }

    /// Milliseconds that opening took.
    pub fn load_ms(&self) -> f64 {
        self.load_ms
    }

    /// What this bundle was estimated to need in memory.
    pub fn memory_estimate(&self) -> MemoryEstimate {
        MemoryEstimate::of(&self.bundle.manifest, self.engine.report().name != "tract")
    }

    /// Encodes a before and an after picture. Both must show the same ground and be
    /// of the same size.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::SizesDiffer`], [`Error::Engine`].
    pub fn pair<'a>(
        &mut self,
        before: impl Into<ImageSource<'a>>,
        after: impl Into<ImageSource<'a>>,
    ) -> Result<Pair, Error> {
        self.pair_within(before, after, Budget::UNLIMITED)
    }

    /// As [`Model::pair`], giving up between two steps when `budget` says so.
    ///
    /// # Errors
    /// As [`Model::pair`], and [`Error::Deadline`], [`Error::Cancelled`].
    pub fn pair_within<'a>(
        &mut self,
        before: impl Into<ImageSource<'a>>,
        after: impl Into<ImageSource<'a>>,
        budget: &Budget,
    ) -> Result<Pair, Error> {
        let started = Instant::now();
        let mut timing = Timing::default();
        let decode = self.options.decode;
        let (before, after) = (before.into(), after.into());
        budget.check(started, "decoding the pictures")?;
        let (before, after) = timed(&mut timing.preprocess, || {
            Ok::<_, Error>((
                before.read("before", &decode)?,
                after.read("after", &decode)?,
            ))
        })?;
        if before.size() != after.size() {
            return Err(Error::SizesDiffer {
                before: before.size(),
                after: after.size(),
            });
        }
        let size = before.size();

        let cached_before = self.cached_features(&before, &mut timing, budget, started)?;
        let (features_before, before_was_cached) = cached_before;
        let features_after = if before.rgb() == after.rgb() {
            features_before.clone()
        } else {
            let mut features = self.features(&after, &mut timing, budget, started)?;
            if self.cache.is_on() {
                round_to_f16(&mut features);
            }
            features
        };

        budget.check(started, "comparing the pictures")?;
        let vision = &self.bundle.manifest.model.vision;
        let one = [1, vision.tokens, vision.width];
        let both = [1, 2 * vision.tokens, vision.width];
        let difference = timed(&mut timing.difference, || {
            self.engine.run(
                Segment::Difference,
                &[
                    Input::f32("before", &one, &features_before),
                    Input::f32("after", &one, &features_after),
                ],
            )
        })?;
        self.expect(Segment::Difference, difference.len(), both.iter().product())?;
        let mut pair = Pair::new(
            difference,
            both,
            self.bundle.hash,
            size,
            timing,
            before_was_cached,
        );
        if let Some(scorer) = &self.trust {
            pair.trust = Some(scorer.score(&features_before, &features_after));
        }
        let with_mask = self.bundle.manifest.segments.contains_key(&Segment::Mask);
        pair.dates = with_mask.then_some([features_before, features_after]);
        Ok(pair)
    }

    /// The change mask of a pair, where the bundle has the segment.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn mask(&mut self, pair: &Pair) -> Result<Option<Mask>, Error> {
        self.expect_pair(pair)?;
        let Some([before, after]) = &pair.dates else {
            return Ok(None);
        };
        let vision = &self.bundle.manifest.model.vision;
        let shape = [1, vision.tokens, vision.width];
        let inputs = [
            Input::f32("before", &shape, before),
            Input::f32("after", &shape, after),
        ];
        let values = self.engine.run(Segment::Mask, &inputs)?;
        match Mask::new(values) {
            Some(mask) => Ok(Some(mask)),
            None => Err(self
                .bundle
                .unfit("segment `mask` gives no square map; rebuild it".to_owned())),
        }
    }

    /// Gives the engine, for measurements of single segments.
    pub fn engine_mut(&mut self) -> &mut dyn Engine {
        self.engine.as_mut()
    }

    /// Features of the before-picture, from the cache where possible.
    fn cached_features(
        &mut self,
        picture: &Image,
        timing: &mut Timing,
        budget: &Budget,
        started: Instant,
    ) -> Result<(Vec<f32>, bool), Error> {
        if !self.cache.is_on() {
            return Ok((self.features(picture, timing, budget, started)?, false));
        }
        let vision = &self.bundle.manifest.model.vision;
        let values = vision.tokens * vision.width;
        let found = timed(&mut timing.preprocess, || {
            let key = FeatureCache::key(picture, &self.bundle.hash);
            (key, self.cache.get(&key, values))
        });
        match found {
            (_, Some(features)) => Ok((features, true)),
            (key, None) => {
                let mut features = self.features(picture, timing, budget, started)?;
                round_to_f16(&mut features);
                self.cache.put(key, &features);
                Ok((features, false))
            }
        }
    }

    fn features(
        &mut self,
        picture: &Image,
        timing: &mut Timing,
        budget: &Budget,
        started: Instant,
    ) -> Result<Vec<f32>, Error> {
        budget.check(started, "encoding a picture")?;
        let vision = &self.bundle.manifest.model.vision;
        let side = vision.image_size;
        let shape = [1, 3, side, side];
        let expected = vision.tokens * vision.width;
        let (mean, std) = (vision.mean, vision.std);
        let pixels = timed(&mut timing.preprocess, || {
            normalise(&resize(picture, side as u32, side as u32), mean, std)
        });
        let input = Input::f32("image", &shape, &pixels);
        let features = timed(&mut timing.vision, || {
            self.engine.run(Segment::Vision, &[input])
        })?;
        self.expect(Segment::Vision, features.len(), expected)?;
        Ok(features)
    }

    /// Refuses a pair that another bundle encoded.
    pub(crate) fn expect_pair(&self, pair: &Pair) -> Result<(), Error> {
        if pair.bundle == self.bundle.hash {
            return Ok(());
        }
        Err(RequestError::ForeignPair.into())
    }

    /// A graph whose output has another size than the manifest says is a faulty bundle.
    pub(crate) fn expect(
        &self,
        segment: Segment,
        found: usize,
        expected: usize,
    ) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        let problem = format!(
            "segment `{}` gives {found} values where the manifest asks for {expected}; rebuild it",
            segment.name()
        );
        Err(self.bundle.unfit(problem))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("id", &self.id())
            .field("engine", self.engine())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    /// A daemon owns the model on a thread of its own.
    #[test]
    fn a_model_moves_between_threads() {
        fn moves<T: Send>() {}
        moves::<Model>();
        moves::<Pair>();
        moves::<Request>();
    }

    #[test]
    fn an_absent_bundle_names_its_directory() {
        let error = Model::open(Path::new("no/such/bundle"), &Options::default()).unwrap_err();
        assert!(error.to_string().contains("no/such/bundle"), "{error}");
        assert_eq!(error.fault(), crate::error::Fault::Bundle);
    }
}
