//! What is surveyed, and how.

use deltavlm_imaging::Image;

use crate::quality::Limits;

/// Two pictures of the same ground on one grid, that of the reference.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The reference.
    pub before: &'a Image,
    /// The frame, registered; what it did not see is marked as no data.
    pub after: &'a Image,
    /// Where the pictures begin in the whole reference, in their own pixels; `None` when they are
    /// all of it.
    pub origin: Option<(u32, u32)>,
    /// Of the grid, where it is known.
    pub ground_m_per_px: Option<f64>,
}

/// How a frame is surveyed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Side of a tile on the ground, in metres, where the ground sampling is known.
    pub tile_m: f64,
    /// Side of a tile in pixels, where it is not.
    pub tile_px: u32,
    /// Part of a tile that the next one shares with it.
    pub overlap: f64,
    /// Most tiles that are asked, those with most changed structure first; `None`: all.
    pub max_tiles: Option<usize>,
    /// What a tile must be to be asked.
    pub limits: Limits,
}

impl Default for Settings {
    /// Tiles of 128 m: 256 pixels at the half metre of the published training data.
    fn default() -> Self {
        Self {
            tile_m: 128.0,
            tile_px: 256,
            overlap: 0.25,
            max_tiles: None,
            limits: Limits::default(),
        }
    }
}
