//! Places: WGS 84, UTM and Web Mercator, and the way from pixels to them.

mod crs;
mod georeference;
mod point;
mod utm;
mod web_mercator;
mod wkt;

pub use crs::{Crs, CrsError, Datum};
pub use georeference::{Georeference, GeoreferenceError};
pub use point::GeoPoint;
