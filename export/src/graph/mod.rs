//! The segments as ONNX graphs: one builder, every size and precision.

mod attention;
mod builder;
mod decoder;
mod difference;
mod mask;
mod qformer;
mod rearrange;
mod spatial;
mod vision;

pub use builder::{Dim, GraphBuilder, QuantPolicy, SegmentGraph, Stored, stored_as};
pub use decoder::decoder;
pub use difference::difference;
pub use mask::{has_mask, mask};
pub use qformer::qformer;
pub use vision::vision;
