//! ONNX Runtime, loaded at run time: TensorRT, CUDA, or its CPU kernels.
//!
//! Providers are tried one after the other, each with failures as errors; what was
//! rejected, and why, is in the report.

use std::collections::BTreeMap;

use deltavlm_bundle::{Segment, Target};
use ort::ep::{CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Tensor, TensorRef};

use super::error::{EngineError, LibraryError};
use super::library::{self, Library};
use super::profiles::{self, Profile};
use super::{Decoder, DecoderStep, Engine, EngineReport, Input, InputData};
use crate::bundle::Bundle;
use crate::error::{Cause, Error};
use crate::memory::MemoryEstimate;
use crate::options::{Options, Provider};

pub(crate) struct OrtEngine {
    report: EngineReport,
    sessions: BTreeMap<Segment, Session>,
    /// `[heads, head width]` of a cached key or value.
    cache_shape: [usize; 2],
}

impl OrtEngine {
    pub(crate) fn open(bundle: &Bundle, options: &Options, reason: &str) -> Result<Self, Error> {
        let manifest = &bundle.manifest;
        let library = library::load(options.ort_library.as_deref())
            .map_err(|error: LibraryError| fault(error.into()))?;
        MemoryEstimate::of(manifest, true).check(manifest, options)?;

        let wanted = if options.ort_providers.is_empty() {
            vec![Provider::TensorRt, Provider::Cuda, Provider::Cpu]
        } else {
            options.ort_providers.clone()
        };
        let mut rejected = Vec::new();
        for provider in wanted {
            match Self::sessions(bundle, options, &library, provider) {
                Ok(sessions) => {
                    let llm = &manifest.model.llm;
                    let report = EngineReport {
                        name: "ort",
                        version: library.version.clone(),
                        provider: provider.name().to_owned(),
                        rejected,
                        reason: reason.to_owned(),
                        threads: options.thread_count(),
                        library: Some(library.path.display().to_string()),
                    };
                    for rejection in &report.rejected {
                        log::info!("ort: {rejection}");
                    }
                    return Ok(Self {
                        report,
                        sessions,
                        cache_shape: [llm.kv_heads, llm.head_dim],
                    });
                }
                Err(problem) => rejected.push(format!("{}: {}", provider.name(), plain(&problem))),
            }
        }
        Err(fault(EngineError::NoProvider { rejected }))
    }

    fn sessions(
        bundle: &Bundle,
        options: &Options,
        library: &Library,
        provider: Provider,
    ) -> Result<BTreeMap<Segment, Session>, String> {
        let manifest = &bundle.manifest;
        if provider == Provider::TensorRt && manifest.target != Target::Tensorrt {
            return Err(
                "the bundle was exported for cpu; export it for the target tensorrt".to_owned(),
            );
        }
        let present = match provider {
            Provider::TensorRt => TensorRT::is_available(),
            Provider::Cuda => CUDA::is_available(),
            Provider::Cpu => Ok(true),
        };
        if !present.map_err(|error| error.to_string())? {
            return Err(format!("not in the library {}", library.path.display()));
        }
        let mut sessions = BTreeMap::new();
        for (&segment, record) in &manifest.segments {
            let mut builder = Session::builder(&library.environment)
                .map_err(|error| error.to_string())?
                .with_optimization_level(GraphOptimizationLevel::Level3)
                .map_err(|error| error.to_string())?
                .with_intra_threads(options.thread_count())
                .map_err(|error| error.to_string())?
                .with_inter_threads(1)
                .map_err(|error| error.to_string())?
                .with_intra_op_spinning(false)
                .map_err(|error| error.to_string())?;
            if let Some(provider) = dispatch(provider, bundle, segment, options)? {
                builder = builder
                    .with_execution_providers([provider])
                    .map_err(|error| error.to_string())?;
            }
            let session = builder
                .commit_from_file(bundle.directory.join(&record.graph))
                .map_err(|error| format!("segment `{}`: {error}", segment.name()))?;
            sessions.insert(segment, session);
        }
        Ok(sessions)
    }

    fn session(&mut self, segment: Segment) -> Result<&mut Session, Error> {
        self.sessions
            .get_mut(&segment)
            .ok_or_else(|| fault(EngineError::NotLoaded { segment }))
    }
}

/// The provider with its options; none for the CPU, which is always there.
fn dispatch(
    provider: Provider,
    bundle: &Bundle,
    segment: Segment,
    options: &Options,
) -> Result<Option<ExecutionProviderDispatch>, String> {
    Ok(match provider {
        Provider::Cpu => None,
        Provider::Cuda => Some(CUDA::default().build().error_on_failure()),
        Provider::TensorRt => {
            let cache = tensorrt_cache(bundle, options)?;
            let Profile { min, opt, max } = profiles::of(&bundle.manifest, segment);
            let mut provider = TensorRT::default()
                .with_fp16(true)
                .with_engine_cache(true)
                .with_engine_cache_path(cache.clone())
                .with_engine_cache_prefix(format!("{}-{}", bundle.manifest.id, segment.name()))
                .with_timing_cache(true)
                .with_timing_cache_path(cache)
                .with_layer_norm_fp32_fallback(true);
            if !min.is_empty() {
                provider = provider
                    .with_profile_min_shapes(min)
                    .with_profile_opt_shapes(opt)
                    .with_profile_max_shapes(max);
            }
            Some(provider.build().error_on_failure())
        }
    })
}

/// The directory for built engines; it must take a file, or every start would
/// build for minutes.
fn tensorrt_cache(bundle: &Bundle, options: &Options) -> Result<String, String> {
    let directory = options
        .tensorrt_cache
        .clone()
        .unwrap_or_else(|| bundle.directory.join("tensorrt"));
    let shown = directory.display().to_string();
    let probe = directory.join(format!(".probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(&probe, b"probe"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| {
            format!("engine cache {shown}: {error}; name a writable directory for it")
        })?;
    Ok(shown)
}

impl Engine for OrtEngine {
    fn report(&self) -> &EngineReport {
        &self.report
    }

    fn run(&mut self, segment: Segment, inputs: &[Input<'_>]) -> Result<Vec<f32>, Error> {
        let session = self.session(segment)?;
        let values = inputs
            .iter()
            .map(|input| {
                let value = match input.data {
                    InputData::F32(values) => TensorRef::from_array_view((input.shape, values))?
                        .into_dyn()
                        .into(),
                    InputData::I64(values) => TensorRef::from_array_view((input.shape, values))?
                        .into_dyn()
                        .into(),
                };
                Ok((input.name, value))
            })
            .collect::<ort::Result<Vec<(&str, ort::session::SessionInputValue<'_>)>>>()
            .map_err(|error| failed(segment, error))?;
        let outputs = session
            .run(values)
            .map_err(|error| failed(segment, error))?;
        let first = outputs.values().next().ok_or_else(|| {
            fault(EngineError::NoOutput {
                segment,
                output: "output".to_owned(),
            })
        })?;
        let (_, values) = first
            .try_extract_tensor::<f32>()
            .map_err(|error| failed(segment, error))?;
        Ok(values.to_vec())
    }

    fn start(&mut self, rows: usize) -> Result<Box<dyn Decoder + '_>, Error> {
        let [heads, width] = self.cache_shape;
        let session = self.session(Segment::Decoder)?;
        let names: Vec<String> = session
            .inputs()
            .iter()
            .map(|input| input.name().to_owned())
            .filter(|name| name.starts_with("past."))
            .collect();
        let mut cache = BTreeMap::new();
        for name in names {
            let empty = Tensor::<f32>::new(session.allocator(), [rows, heads, 0, width]);
            let empty = empty.map_err(|error| failed(Segment::Decoder, error))?;
            cache.insert(name, empty.into_dyn());
        }
        Ok(Box::new(OrtDecoder { session, cache }))
    }
}

struct OrtDecoder<'e> {
    session: &'e mut Session,
    /// By the name of the graph input.
    cache: BTreeMap<String, DynValue>,
}

impl Decoder for OrtDecoder<'_> {
    fn forward(&mut self, step: &DecoderStep<'_>) -> Result<Vec<f32>, Error> {
        let fail = |error: ort::Error| failed(Segment::Decoder, error);
        let (rows, new, total) = (step.rows, step.new, step.past + step.new);
        let width = step.embeddings.len() / (rows * new).max(1);
        let embeddings =
            TensorRef::from_array_view(([rows, new, width], step.embeddings)).map_err(fail)?;
        let positions = TensorRef::from_array_view(([rows, new], step.positions)).map_err(fail)?;
        let bias = TensorRef::from_array_view(([rows, 1, new, total], step.bias)).map_err(fail)?;
        let mut values: Vec<(&str, ort::session::SessionInputValue<'_>)> = vec![
            ("embeddings", embeddings.into_dyn().into()),
            ("positions", positions.into_dyn().into()),
            ("attention_bias", bias.into_dyn().into()),
        ];
        for (name, value) in &self.cache {
            values.push((name, value.view().into()));
        }
        let mut outputs = self.session.run(values).map_err(fail)?;
        let names: Vec<String> = outputs.keys().map(str::to_owned).collect();
        let mut logits = None;
        let mut cache = BTreeMap::new();
        for name in names {
            let Some(value) = outputs.remove(&name) else {
                continue;
            };
            match name.strip_prefix("present.") {
                Some(rest) => {
                    cache.insert(format!("past.{rest}"), value);
                }
                None => logits = Some(value.try_extract_tensor::<f32>().map_err(fail)?.1.to_vec()),
            }
        }
        drop(outputs);
        self.cache = cache;
        logits.ok_or_else(|| {
            fault(EngineError::NoOutput {
                segment: Segment::Decoder,
                output: "logits".to_owned(),
            })
        })
    }

    fn reorder_cache(&mut self, rows: &[usize]) -> Result<(), Error> {
        let fail = |error: ort::Error| failed(Segment::Decoder, error);
        for value in self.cache.values_mut() {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(fail)?;
            let mut shape: Vec<i64> = shape.to_vec();
            let row = values.len() / usize::try_from(shape[0]).unwrap_or(1).max(1);
            let mut picked = Vec::with_capacity(rows.len() * row);
            for &index in rows {
                picked.extend_from_slice(&values[index * row..][..row]);
            }
            shape[0] = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            *value = Tensor::from_array((shape, picked))
                .map_err(fail)?
                .into_dyn();
        }
        Ok(())
    }
}

/// Whether a provider for an accelerator lies beside a library, without loading it.
#[cfg(feature = "tract")]
pub(super) fn has_accelerator(library: &std::path::Path) -> bool {
    let Some(directory) = library.parent() else {
        return false;
    };
    [
        "libonnxruntime_providers_tensorrt.so",
        "libonnxruntime_providers_cuda.so",
    ]
    .iter()
    .any(|name| directory.join(name).exists())
}

/// A message of the library as one line. CUDA's own lies within the signatures of the
/// functions that it passed through.
fn plain(problem: &str) -> String {
    let words: Vec<&str> = problem.split_whitespace().collect();
    let line = words.join(" ");
    match line.find("CUDA failure") {
        Some(at) => line[at..]
            .split(" ; ")
            .next()
            .unwrap_or_default()
            .to_owned(),
        None => line,
    }
}

fn failed(segment: Segment, error: ort::Error) -> Error {
    let source: Cause = Box::new(error);
    fault(EngineError::Run { segment, source })
}

fn fault(source: EngineError) -> Error {
    Error::Engine {
        engine: "ort",
        source,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_one_line_that_says_what_happened() {
        let message = "segment `vision`: cuda_call.cc:146 Status CudaCall(ERRTYPE, int) [with \
                       THRW = true] CUDA failure 35: driver version is insufficient ; GPU=-1 ; \
                       hostname=vm";
        assert_eq!(
            super::plain(message),
            "CUDA failure 35: driver version is insufficient"
        );
        assert_eq!(super::plain("cannot load\n  it\n"), "cannot load it");
    }
}
