//! How long the answer to a message will be, so that its time on the air can be estimated before it
//! is asked for.

use crate::{Instruction, Message, Prompt};

/// Bytes of a preview as JPEG, by level from 32 to 256 pixels a side.
///
/// The longest of the before, after and difference pictures of the demonstration's eight pairs
/// (`demo/pairs`), encoded as `firmware-host/src/preview.rs` does at quality 40, took 896, 1,626,
/// 4,406 and 17,403 bytes; a tenth is added. A test of the firmware host keeps it.
pub const PREVIEW_BYTES: [usize; 4] = [1_000, 1_800, 4_900, 19_200];

/// What a [`PreviewPart`](crate::PreviewPart) says besides the bytes of the picture.
const PREVIEW_HEADER: usize = 14;

/// Bytes of the body of the answer that `message` will get, typically; of all parts of a preview
/// together. Zero where there is none.
///
/// Free text is counted at the length of a short sentence; a preview at the longest measured
/// ([`PREVIEW_BYTES`]), with every finer level than those measured four times as long.
pub fn expected_reply_size(message: &Message) -> usize {
    match message {
        Message::Query(query) => match query.prompt {
            Prompt::Fixed(Instruction::Classify) => 11,
            Prompt::Fixed(Instruction::Count) => 12,
            Prompt::Fixed(Instruction::Localize) => 14,
            Prompt::Fixed(Instruction::Caption) => 22,
            Prompt::Fixed(Instruction::Survey) => 30,
            _ => 40,
        },
        Message::PreviewRequest(request) => (0..=request.level.min(8)).map(preview_level).sum(),
        Message::Configure(_) => 3,
        Message::Ping(_) => 5,
        _ => 0,
    }
}

fn preview_level(level: u8) -> usize {
    let measured = PREVIEW_BYTES.len() - 1;
    let beyond = usize::from(level).saturating_sub(measured);
    let bytes = PREVIEW_BYTES[usize::from(level).min(measured)] << (2 * beyond);
    bytes + bytes.div_ceil(crate::MAX_PREVIEW_DATA) * PREVIEW_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Configure, MAX_BODY, PreviewImage, PreviewRequest, Setting};

    fn preview(level: u8) -> usize {
        expected_reply_size(&Message::PreviewRequest(PreviewRequest {
            id: 1,
            tile: 1,
            picture: PreviewImage::After,
            level,
        }))
    }

    /// It once said that the coarsest level goes uncompressed, in 3,072 bytes.
    #[test]
    fn previews_are_as_long_as_their_jpegs() {
        assert_eq!(preview(0), PREVIEW_BYTES[0] + 2 * PREVIEW_HEADER);
        assert!(preview(0) < 32 * 32 * 3);
        assert!((1..=8).all(|level| preview(level) > preview(level - 1)));
        assert_eq!(preview(9), preview(8), "no level is finer");
    }

    #[test]
    fn short_answers_are_no_longer_than_expected() {
        let applied = Message::Applied(u16::MAX);
        let configure = Message::Configure(Configure {
            id: u16::MAX,
            setting: Setting::Quiet(1),
        });
        for (asked, answer) in [
            (configure, applied),
            (Message::Ping(u32::MAX), Message::Pong(u32::MAX)),
        ] {
            let mut body = [0; MAX_BODY];
            let length = answer.encode(&mut body).unwrap();
            assert_eq!(length, expected_reply_size(&asked));
        }
        assert_eq!(expected_reply_size(&Message::Pong(1)), 0);
    }
}
