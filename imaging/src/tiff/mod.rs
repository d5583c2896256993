//! TIFF and BigTIFF, read by windows: strips and tiles, 1 to 64 bits, bands interleaved
//! or planar; LZW, Deflate, PackBits, Zstandard, JPEG; overviews, masks and no-data as
//! GDAL writes them. A picture of any size costs only the window that is asked for.

mod chunks;
pub(crate) mod codec;
mod file;
mod geokeys;
pub(crate) mod layout;
pub(crate) mod raster;
mod render;
mod row;

pub use file::TiffFile;
pub use geokeys::GeoKeyError;
pub use raster::{Raster, SampleKind};
