//! UTM and Web Mercator against pyproj (`golden/make_projections.py`).

use deltavlm_imaging::geo::{Crs, GeoPoint};

#[test]
fn projections_agree_with_pyproj_within_a_millimetre() {
    // ETRS89 and NAD83 are on GRS 80, whose flattening differs by 0.1 mm on the ground.
    let golden = include_str!("golden/projections.tsv");
    let mut seen = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let n: Vec<f64> = line
            .split('\t')
            .map(|field| field.parse().unwrap())
            .collect();
        let [epsg, lon, lat, easting, northing] = n[..] else {
            panic!("{line}");
        };
        let crs = Crs::from_epsg(epsg as u32).unwrap();
        let (x, y) = crs.from_wgs84(GeoPoint { lat, lon }).unwrap();
        assert!(
            (x - easting).abs() < 1e-3 && (y - northing).abs() < 1e-3,
            "{line}: {x} {y}"
        );
        let back = crs.to_wgs84(easting, northing).unwrap();
        let (de, dn) = GeoPoint { lat, lon }.east_north_to(back);
        assert!(de.abs() < 1e-3 && dn.abs() < 1e-3, "{line}: {back:?}");
        seen += 1;
    }
    assert_eq!(seen, 80);
}
