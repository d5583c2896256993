//! How the name of a tile becomes the number that travels.

/// The number of the tile with this name.
///
/// A name that holds exactly one run of digits is numbered by it: `17`, `tile_0017` and
/// `north-17` are all tile 17. Any other name, such as `test_102_0512_0000`, gets a number
/// from 2147483648 on, made from its letters; two such names share a number with a
/// probability of one in two thousand million.
#[must_use]
pub fn tile_number(name: &str) -> u32 {
    let mut runs = name
        .split(|c: char| !c.is_ascii_digit())
        .filter(|run| !run.is_empty());
    if let (Some(run), None) = (runs.next(), runs.next())
        && let Ok(number) = run.parse::<u32>()
        && number < NAMED
    {
        return number;
    }
    NAMED | fnv1a(name.as_bytes())
}

/// Numbers from here on stand for names.
const NAMED: u32 = 1 << 31;

fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_of_digits_is_the_number() {
        for name in ["17", "tile_0017", "north-17", "17b"] {
            assert_eq!(tile_number(name), 17, "{name}");
        }
    }

    #[test]
    fn other_names_keep_their_number_for_ever() {
        // Both ends of a link may run different versions: these numbers are frozen.
        assert_eq!(tile_number(""), 0x811c_9dc5);
        assert_eq!(tile_number("a"), 0xe40c_292c);
        assert_eq!(tile_number("foobar"), 0xbf9c_f968);
        assert!(tile_number("test_102_0512_0000") >= NAMED);
        assert!(tile_number("99999999999") >= NAMED);
        assert!(tile_number("4294967295") >= NAMED);
    }
}
