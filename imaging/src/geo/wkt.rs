//! Coordinate systems in text: well-known text as in `.prj` files, `EPSG:n`, PROJ
//! strings and the short form of ODM's `geo.txt`.

use super::crs::{Crs, CrsError, Datum};

/// Text longer than this is no coordinate system.
const MAX_CHARS: usize = 20_000;

impl std::str::FromStr for Crs {
    type Err = CrsError;

    /// From `EPSG:n`, well-known text (1, 2 or ESRI's), a PROJ string, or a name such as
    /// `WGS84 UTM 32N`.
    fn from_str(text: &str) -> Result<Self, CrsError> {
        parse(text)
    }
}

fn parse(text: &str) -> Result<Crs, CrsError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() || text.len() > MAX_CHARS {
        return Err(CrsError::Malformed("empty or too long".to_owned()));
    }
    if let Some(code) = strip_prefix_ignoring_case(text, "EPSG:") {
        let code = code.trim().parse();
        return code
            .map_err(|_| CrsError::Malformed(format!("{text:?} is no EPSG code")))
            .and_then(Crs::from_epsg);
    }
    if text.contains("+proj=") || text.contains("+init=") {
        return from_proj(text);
    }
    if text.contains('[') {
        return from_wkt(text);
    }
    from_name(text).ok_or_else(|| unknown(text))
}

/// Well-known text, version 1, 2 or ESRI's: the code of the outermost system where it
/// states one, else its name.
fn from_wkt(text: &str) -> Result<Crs, CrsError> {
    let name = first_string(text).unwrap_or_default();
    if text.to_ascii_uppercase().starts_with("COMPD") {
        // The horizontal system is the first one inside.
        let inner = text.find(',').map(|at| text[at + 1..].trim());
        return match inner.filter(|inner| inner.contains('[')) {
            Some(inner) => from_wkt(inner),
            None => Err(unknown(&name)),
        };
    }
    if let Some(code) = own_authority(text) {
        return Crs::from_epsg(code);
    }
    from_name(&name).ok_or_else(|| unknown(&name))
}

/// The code in an `AUTHORITY["EPSG","n"]` or `ID["EPSG",n]` directly inside the
/// outermost brackets; those of its parts lie deeper.
fn own_authority(text: &str) -> Option<u32> {
    let mut depth = 0usize;
    let mut in_quotes = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'[' | b'(' => {
                let word = text[..at]
                    .rsplit(|c: char| !c.is_ascii_alphabetic())
                    .next()
                    .unwrap_or_default();
                if depth == 1
                    && (word.eq_ignore_ascii_case("AUTHORITY") || word.eq_ignore_ascii_case("ID"))
                {
                    let end = text[at..].find([']', ')']).map(|end| at + end)?;
                    let mut parts = text[at + 1..end].split(',');
                    let authority = parts.next()?.trim().trim_matches('"');
                    let code = parts.next()?.trim().trim_matches('"');
                    if authority.eq_ignore_ascii_case("EPSG") {
                        return code.parse().ok();
                    }
                }
                depth += 1;
            }
            b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // The first system only: a text may hold more behind it.
        if depth == 0 && matches!(byte, b']' | b')') {
            break;
        }
    }
    None
}

fn first_string(text: &str) -> Option<String> {
    text.split('"').nth(1).map(str::to_owned)
}

/// "WGS 84 / UTM zone 32N", "WGS_1984_UTM_Zone_32N", "WGS84 UTM 32N" and the like.
fn from_name(name: &str) -> Option<Crs> {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_uppercase();
    let plain = plain.strip_prefix("GCS").unwrap_or(&plain);
    if matches!(
        plain,
        "WGS84PSEUDOMERCATOR"
            | "WGS1984WEBMERCATORAUXILIARYSPHERE"
            | "WGS1984WEBMERCATOR"
            | "POPULARVISUALISATIONCRSMERCATOR"
            | "WGS84WEBMERCATOR"
    ) {
        return Some(Crs::WebMercator);
    }
    let (datum, rest) = [
        ("WGS84", Datum::Wgs84),
        ("WGS1984", Datum::Wgs84),
        ("ETRS89", Datum::Etrs89),
        ("ETRS1989", Datum::Etrs89),
        ("NAD83", Datum::Nad83),
        ("NAD1983", Datum::Nad83),
    ]
    .into_iter()
    .find_map(|(prefix, datum)| Some((datum, plain.strip_prefix(prefix)?)))?;
    if rest.is_empty() {
        // Only where the name says it is geographic: a projected system of any kind may
        // begin with the datum too, but then goes on.
        return Some(Crs::Geographic { datum });
    }
    let zone = rest.strip_prefix("UTM")?;
    let zone = zone.strip_prefix("ZONE").unwrap_or(zone);
    let (number, hemisphere) = zone.split_at(zone.find(|c: char| !c.is_ascii_digit())?);
    utm(
        datum,
        number.parse().ok()?,
        match hemisphere {
            "N" => true,
            "S" => false,
            _ => return None,
        },
    )
}

/// Only zones that EPSG knows for the datum.
fn utm(datum: Datum, zone: u8, is_north: bool) -> Option<Crs> {
    let crs = Crs::Utm {
        datum,
        zone,
        is_north,
    };
    (Crs::from_epsg(crs.epsg()).ok()? == crs).then_some(crs)
}

fn from_proj(text: &str) -> Result<Crs, CrsError> {
    let value = |key: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix('+'))
            .find_map(|word| match word.split_once('=') {
                Some((name, value)) => (name == key).then_some(value),
                None => (word == key).then_some(""),
            })
    };
    if let Some(code) = value("init") {
        return parse(code).map_err(|_| unknown(text));
    }
    if value("towgs84").is_some_and(|shift| shift.split(',').any(|n| n.parse() != Ok(0.0))) {
        return Err(unknown(text));
    }
    let datum = match (value("datum"), value("ellps")) {
        (Some("WGS84"), _) | (None, Some("WGS84")) => Datum::Wgs84,
        (Some("NAD83"), _) => Datum::Nad83,
        (None, Some("GRS80")) => Datum::Etrs89,
        _ => return Err(unknown(text)),
    };
    if value("units").is_some_and(|units| units != "m") {
        return Err(unknown(text));
    }
    match value("proj") {
        Some("longlat" | "latlong") => Some(Crs::Geographic { datum }),
        Some("utm") => value("zone")
            .and_then(|zone| zone.parse().ok())
            .and_then(|zone| utm(datum, zone, value("south").is_none())),
        _ => None,
    }
    .ok_or_else(|| unknown(text))
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

fn unknown(text: &str) -> CrsError {
    CrsError::UnknownName(text.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epsg(text: &str) -> u32 {
        parse(text).unwrap().epsg()
    }

    #[test]
    fn names_codes_and_proj_strings() {
        assert_eq!(epsg("EPSG:32633"), 32_633);
        assert_eq!(epsg("epsg: 4326"), 4326);
        assert_eq!(epsg("WGS84 UTM 32N"), 32_632);
        assert_eq!(epsg("WGS84 UTM 7S"), 32_707);
        assert_eq!(epsg("WGS84"), 4326);
        assert_eq!(
            epsg("+proj=utm +zone=15 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"),
            32_615
        );
        assert_eq!(epsg("+proj=utm +zone=56 +south +datum=WGS84"), 32_756);
        assert_eq!(
            epsg("+proj=utm +zone=32 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0"),
            25_832
        );
        assert_eq!(epsg("+proj=longlat +datum=WGS84 +no_defs"), 4326);
    }

    #[test]
    fn well_known_text_of_esri_has_no_codes() {
        let esri = r#"PROJCS["WGS_1984_UTM_Zone_32N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],UNIT["Meter",1.0]]"#;
        assert_eq!(epsg(esri), 32_632);
        assert_eq!(epsg(r#"GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]"#), 4326);
        let web = r#"PROJCS["WGS_1984_Web_Mercator_Auxiliary_Sphere",GEOGCS["GCS_WGS_1984"]]"#;
        assert_eq!(epsg(web), 3857);
    }

    #[test]
    fn the_code_of_a_part_is_not_that_of_the_whole() {
        let lambert = r#"PROJCS["RGF93 / Lambert-93",GEOGCS["RGF93",AUTHORITY["EPSG","4171"]],AUTHORITY["EPSG","2154"]]"#;
        assert_eq!(parse(lambert), Err(CrsError::UnknownEpsg(2154)));
        let unnamed = r#"PROJCS["Somewhere",GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]]]"#;
        assert!(matches!(parse(unnamed), Err(CrsError::UnknownName(name)) if name == "Somewhere"));
        let compound = r#"COMPD_CS["x",PROJCS["y",AUTHORITY["EPSG","32632"]],VERT_CS["EGM96",AUTHORITY["EPSG","5773"]]]"#;
        assert_eq!(epsg(compound), 32_632);
    }

    #[test]
    fn other_systems_and_nonsense_are_refused() {
        for text in [
            "",
            "[[[[",
            "]",
            "EPSG:",
            "EPSG:x",
            "WGS84 UTM 99N",
            "WGS 84 / UPS North",
            "+proj=utm +zone=0 +datum=WGS84",
            "+proj=lcc +datum=WGS84",
            "ID[\"EPSG\"",
            "+proj=utm +zone=32 +datum=WGS84 +units=us-ft",
            "COMPD_CS[\"x\"",
            "é[",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", wkt in "[A-Z\\[\\]\",0-9 ()]{0,80}") {
            let _ = parse(&text);
            let _ = parse(&wkt);
        }
    }
}
