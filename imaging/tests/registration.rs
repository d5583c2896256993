//! Registration on scenes whose transform is known, and on what must be refused.

use deltavlm_imaging::Image;
use deltavlm_imaging::register::{Gray, Homography, Prior, Settings, Unaligned, register, warp};

/// A generator of its own, so that the scene is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
}

const SIDE: u32 = 400;

/// Fields, roads and roofs of `seed`; `rebuilt` draws this share of the roofs anew.
fn scene(seed: u64, rebuilt: f64) -> Image {
    let mut ground = Random(seed.wrapping_mul(7919).wrapping_add(17));
    let mut change = Random(seed ^ 0x5555);
    let side = SIDE as usize;
    let mut values = vec![100.0f64; side * side];
    let mut draw = |centre: [f64; 2], size: [f64; 2], angle: f64, value: f64| {
        let (sin, cos) = angle.sin_cos();
        for (index, pixel) in values.iter_mut().enumerate() {
            let (dx, dy) = (
                (index % side) as f64 - centre[0],
                (index / side) as f64 - centre[1],
            );
            if (cos * dx + sin * dy).abs() < size[0] && (cos * dy - sin * dx).abs() < size[1] {
                *pixel = value;
            }
        }
    };
    let full = f64::from(SIDE);
    for _ in 0..8 {
        let (x, y, angle, value) = (
            ground.next() * full,
            ground.next() * full,
            ground.next() * 3.1,
            ground.next(),
        );
        draw([x, y], [90.0, 60.0], angle, 70.0 + 60.0 * value);
    }
    for _ in 0..4 {
        let (x, y, angle) = (
            ground.next() * full,
            ground.next() * full,
            ground.next() * 3.1,
        );
        draw([x, y], [600.0, 4.0], angle, 160.0);
    }
    for _ in 0..70 {
        let mut roof = [
            ground.next() * full,
            ground.next() * full,
            ground.next() * 3.1,
            ground.next(),
        ];
        if change.next() < rebuilt {
            roof = [
                change.next() * full,
                change.next() * full,
                change.next() * 3.1,
                change.next(),
            ];
        }
        draw(
            [roof[0], roof[1]],
            [7.0 + 6.0 * roof[3], 6.0],
            roof[2],
            40.0 + 200.0 * roof[3],
        );
    }
    let mut noise = Random(seed ^ 0x77);
    let rgb = values
        .iter()
        .flat_map(|value| [(value + 8.0 * noise.next()).clamp(0.0, 255.0) as u8; 3])
        .collect();
    Image::from_rgb("scene", SIDE, SIDE, rgb).expect("sizes fit")
}

fn flat(value: u8) -> Image {
    Image::from_rgb("flat", SIDE, SIDE, vec![value; (SIDE * SIDE * 3) as usize]).expect("sizes fit")
}

/// What the camera sees when `truth` brings its pixels to the scene's.
fn seen(scene: &Image, truth: &Homography) -> Image {
    let inverse = truth.inverse().expect("invertible");
    warp(scene, &inverse, (SIDE, SIDE))
        .expect("invertible")
        .image
}

fn truth() -> Homography {
    let about = |h: Homography| {
        Homography::translation(200.0, 200.0)
            .after(&h)
            .after(&Homography::translation(-200.0, -200.0))
    };
    let tilt = Homography([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1e-4, -6e-5, 1.0]);
    about(Homography::similarity(1.05, 0.14, [22.0, -15.0])).after(&about(tilt))
}

/// Mean distance over the frame's points that lie in the reference.
fn error(found: &Homography, truth: &Homography) -> f64 {
    let mut distances = Vec::new();
    for index in 0..64 {
        let point = [
            f64::from(index % 8) * 55.0 + 5.0,
            f64::from(index / 8) * 55.0 + 5.0,
        ];
        let (a, b) = (truth.apply(point), found.apply(point));
        if a.iter()
            .all(|&value| (0.0..f64::from(SIDE)).contains(&value))
        {
            distances.push((a[0] - b[0]).hypot(a[1] - b[1]));
        }
    }
    distances.iter().sum::<f64>() / distances.len() as f64
}

fn registered(
    frame: &Image,
    reference: &Image,
    prior: &Prior,
) -> deltavlm_imaging::register::Registration {
    register(
        &Gray::from(frame),
        &Gray::from(reference),
        prior,
        &Settings::default(),
    )
}

#[test]
fn the_same_picture_is_found_to_a_tenth_of_a_pixel() {
    let reference = scene(1, 0.0);
    let found = registered(&seen(&reference, &truth()), &reference, &Prior::unknown());
    assert!(found.is_aligned(), "{found:?}");
    assert!(error(&found.homography, &truth()) < 0.1, "{found:?}");
    assert!(found.evidence.agreeing > 0.8, "{found:?}");
}

#[test]
fn another_date_with_a_third_rebuilt_is_found() {
    let found = registered(
        &seen(&scene(2, 0.33), &truth()),
        &scene(2, 0.0),
        &Prior::unknown(),
    );
    assert!(found.is_aligned(), "{found:?}");
    assert!(error(&found.homography, &truth()) < 1.0, "{found:?}");
}

#[test]
fn a_negative_is_found_because_orientation_ignores_the_sign_of_contrast() {
    let reference = scene(3, 0.0);
    let frame = seen(&reference, &truth());
    let negative = frame
        .rgb()
        .iter()
        .map(|value| if *value == 0 { 0 } else { 255 - value })
        .collect();
    let negative = Image::from_rgb("negative", SIDE, SIDE, negative).expect("sizes fit");
    let found = registered(&negative, &reference, &Prior::unknown());
    assert!(found.is_aligned(), "{found:?}");
    assert!(error(&found.homography, &truth()) < 0.3, "{found:?}");
}

#[test]
fn a_prior_reaches_what_lies_beyond_the_plain_search() {
    let reference = scene(4, 0.0);
    let far = Homography::translation(200.0, 200.0)
        .after(&Homography::similarity(0.95, 2.4, [0.0, 0.0]))
        .after(&Homography::translation(-200.0, -200.0));
    let frame = seen(&reference, &far);
    let start = Homography::translation(12.0, -9.0).after(&far);
    let prior = Prior {
        start,
        shift_px: 30.0,
        rotation_deg: 5.0,
        scale: 1.06,
    };
    let found = registered(&frame, &reference, &prior);
    assert!(found.is_aligned(), "{found:?}");
    assert!(error(&found.homography, &far) < 0.2, "{found:?}");
}

#[test]
fn other_places_are_refused_with_and_without_a_prior() {
    for seed in 10..16 {
        let (frame, reference) = (scene(seed, 0.0), scene(seed + 100, 0.0));
        let near = Prior {
            shift_px: 40.0,
            rotation_deg: 5.0,
            scale: 1.06,
            ..Prior::unknown()
        };
        for prior in [Prior::unknown(), near] {
            let found = registered(&frame, &reference, &prior);
            assert!(!found.is_aligned(), "{seed}: {found:?}");
        }
    }
}

#[test]
fn black_flat_and_tiny_pictures_are_refused() {
    let reference = scene(5, 0.0);
    for (frame, reference) in [
        (&flat(0), &reference),
        (&flat(128), &reference),
        (&reference, &flat(0)),
        (&flat(128), &flat(128)),
        (
            &Image::from_rgb("dot", 1, 1, vec![9; 3]).expect("sizes fit"),
            &reference,
        ),
        (
            &reference,
            &Image::from_rgb("line", 500, 1, vec![9; 1500]).expect("sizes fit"),
        ),
    ] {
        let found = registered(frame, reference, &Prior::unknown());
        assert_eq!(found.refused, Some(Unaligned::NoStructure), "{found:?}");
    }
}

#[test]
fn a_frame_larger_than_the_reference_does_not_panic() {
    // The padded transform was once sized by the reference alone.
    let reference = scene(6, 0.0).crop(100, 100, 180, 150);
    let found = registered(&scene(6, 0.0), &reference, &Prior::unknown());
    if found.is_aligned() {
        let shifted = found.homography.apply([200.0, 200.0]);
        assert!(
            (shifted[0] - 100.0).hypot(shifted[1] - 100.0) < 1.0,
            "{found:?}"
        );
    }
}

#[test]
fn no_prior_makes_it_panic_and_an_unusable_one_is_named() {
    let picture = scene(7, 0.0);
    let nan = Prior {
        start: Homography([f64::NAN; 9]),
        ..Prior::unknown()
    };
    let flat = Prior {
        start: Homography([0.0; 9]),
        ..Prior::unknown()
    };
    let negative = Prior {
        shift_px: -1.0,
        ..Prior::unknown()
    };
    for prior in [
        nan,
        flat,
        negative,
        Prior {
            scale: f64::NAN,
            ..Prior::unknown()
        },
    ] {
        assert_eq!(
            registered(&picture, &picture, &prior).refused,
            Some(Unaligned::UnusablePrior)
        );
    }
    let away = Prior {
        start: Homography::translation(1e9, 0.0),
        shift_px: 10.0,
        ..Prior::unknown()
    };
    assert!(!registered(&picture, &picture, &away).is_aligned());
    let horizon = Homography([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, -5e-3, 0.0, 1.0]);
    assert!(
        !registered(
            &picture,
            &picture,
            &Prior {
                start: horizon,
                ..Prior::unknown()
            }
        )
        .is_aligned()
    );
}

#[test]
fn no_data_is_not_structure() {
    let reference = scene(8, 0.0);
    let frame = seen(&reference, &truth());
    let (width, height) = (SIDE as usize, SIDE as usize);
    // A third of the frame is another place, and masked.
    let other = scene(88, 0.0);
    let mut rgb = frame.rgb().to_vec();
    let masked = |index: usize| index % width < width / 3;
    for index in (0..width * height).filter(|&index| masked(index)) {
        rgb[3 * index..3 * index + 3].copy_from_slice(&other.rgb()[3 * index..3 * index + 3]);
    }
    let valid: Vec<bool> = (0..width * height).map(|index| !masked(index)).collect();
    let gray = Gray::from_rgb(width, height, &rgb, Some(&valid)).expect("sizes fit");
    let found = register(
        &gray,
        &Gray::from(&reference),
        &Prior::unknown(),
        &Settings::default(),
    );
    assert!(found.is_aligned(), "{found:?}");
    assert!(error(&found.homography, &truth()) < 0.3, "{found:?}");
    let none = vec![false; width * height];
    let blind = Gray::from_rgb(width, height, &rgb, Some(&none)).expect("sizes fit");
    let found = register(
        &blind,
        &Gray::from(&reference),
        &Prior::unknown(),
        &Settings::default(),
    );
    assert_eq!(found.refused, Some(Unaligned::NoStructure));
}
