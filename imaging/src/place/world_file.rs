//! World files (`.jgw`, `.tfw`, `.wld`, ...) and the `.prj` beside them.

use std::path::{Path, PathBuf};

use crate::geo::{CrsError, Georeference, GeoreferenceError};
use crate::place::small_file::{self, SmallFileError};

/// Why a world file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WorldFileError {
    #[error(transparent)]
    File(#[from] SmallFileError),
    #[error("{0}: not six numbers, one a line")]
    Malformed(String),
    #[error(
        "{0}: no .prj or .wkt file beside it names the coordinate system; write one (gdalsrsinfo -o wkt1_esri)"
    )]
    NoProjection(String),
    #[error("{name}: {source}")]
    Projection { name: String, source: CrsError },
    #[error("{name}: {source}")]
    Transform {
        name: String,
        source: GeoreferenceError,
    },
}

/// The georeference beside a picture, and the name of the world file; `None` when there
/// is no world file.
pub(crate) fn read(picture: &Path) -> Result<Option<(Georeference, String)>, WorldFileError> {
    let Some(path) = candidates(picture).into_iter().find(|path| path.is_file()) else {
        return Ok(None);
    };
    let name = path.display().to_string();
    let values = parse(&small_file::read(&path)?).ok_or(WorldFileError::Malformed(name.clone()))?;
    let projection = ["prj", "PRJ", "wkt"]
        .iter()
        .map(|extension| picture.with_extension(extension))
        .find(|path| path.is_file());
    let Some(projection) = projection else {
        return Err(WorldFileError::NoProjection(name));
    };
    let text = small_file::read(&projection)?;
    let crs = text.parse().map_err(|source| WorldFileError::Projection {
        name: projection.display().to_string(),
        source,
    })?;
    // The file's origin is the centre of the upper left pixel.
    let [a, d, b, e, cx, cy] = values;
    let transform = [cx - 0.5 * (a + b), a, b, cy - 0.5 * (d + e), d, e];
    let georeference =
        Georeference::new(transform, crs).map_err(|source| WorldFileError::Transform {
            name: name.clone(),
            source,
        })?;
    Ok(Some((georeference, name)))
}

/// The six numbers: step of x by column, of y by column, of x by row, of y by row, and
/// the centre of the upper left pixel. A decimal comma is what some locales wrote.
fn parse(text: &str) -> Option<[f64; 6]> {
    let mut numbers = text.split_whitespace().map(|word| {
        word.replace(',', ".")
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
    });
    let mut values = [0.0; 6];
    for value in &mut values {
        *value = numbers.next()??;
    }
    numbers.next().is_none().then_some(values)
}

/// First and last letter of the extension with a `w`, the whole extension with a `w`,
/// and `.wld`.
fn candidates(picture: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(extension) = picture.extension().and_then(|e| e.to_str())
        && let (Some(first), Some(last)) = (extension.chars().next(), extension.chars().last())
    {
        for name in [format!("{first}{last}w"), format!("{extension}w")] {
            found.extend(
                [name.to_lowercase(), name.to_uppercase()].map(|n| picture.with_extension(n)),
            );
        }
    }
    found.push(picture.with_extension("wld"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_world_files() {
        let names: Vec<String> = candidates(Path::new("a/b.jpg"))
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        assert_eq!(
            names,
            ["a/b.jgw", "a/b.JGW", "a/b.jpgw", "a/b.JPGW", "a/b.wld"]
        );
    }

    #[test]
    fn six_numbers_or_nothing() {
        assert_eq!(
            parse("0,5\n0\n0\n-0.5\n100\n200\n"),
            Some([0.5, 0.0, 0.0, -0.5, 100.0, 200.0])
        );
        for text in [
            "",
            "1 2 3 4 5",
            "1 2 3 4 5 6 7",
            "1 2 3 4 5 x",
            "NaN 0 0 1 1 1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
