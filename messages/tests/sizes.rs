//! How many bytes messages take.

use deltavlm_messages::{Instruction, Message, Query};

#[test]
fn fixed_queries_take_at_most_nine_bytes() {
    use Instruction::{Caption, Classify, Count, Localize, Survey};
    for instruction in [Classify, Count, Localize, Caption, Survey] {
        let query = Message::Query(Query {
            id: u16::MAX,
            tile: u32::MAX,
            prompt: instruction.into(),
        });
        let mut body = [0; 64];
        assert!(query.encode(&mut body).unwrap() <= 9);
    }
}
