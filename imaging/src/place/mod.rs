//! What a picture file says of its place, its time and how the camera looked.
//!
//! Each value carries the field it was read from ([`Sourced`]). Sources are, the later
//! ones losing to the earlier: a sidecar JSON, ODM's `geo.txt`, XMP of the makers, EXIF.
//! A georeference comes from the sidecar, from GeoTIFF tags, or from a world file.

mod attitude;
mod camera;
mod dem;
mod exif;
mod geo_txt;
mod ground;
mod makers;
mod pose;
mod read;
mod sidecar;
mod small_file;
mod sourced;
mod time;
mod world_file;
mod xmp;

pub use attitude::{Attitude, Convention};
pub use dem::{Dem, DemError};
pub use ground::GroundHeight;
pub use pose::Pose;
pub use read::{Place, PlaceOptions};
pub use sourced::Sourced;
