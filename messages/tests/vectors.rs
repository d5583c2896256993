//! The golden bytes in `vectors/`, in both directions. `UPDATE=1` writes them anew; whoever needs
//! that has changed the wire format.

use std::fs;

use deltavlm_messages::{
    StorageState,
    text::{CODED_MAX, decode, encode},
    *,
};
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// The committed vectors; the made ones must be the same.
fn committed(name: &str, made: &Value) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let kept = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(&kept, made, "{name}.json is not what this version writes");
    kept
}

fn alert() -> Alert {
    Alert {
        tile: 4711,
        time: 86_400,
        confidence: Confidence::from_step(118),
        roads: 1,
        buildings: 12,
        roads_grid: CellSet::from_bits(0b000_000_111),
        buildings_grid: CellSet::from_bits(0b000_110_000),
        pair: 0xBEEF,
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).unwrap()
}

fn messages() -> Vec<(&'static str, Message)> {
    let source = Provenance {
        pair: 0xBEEF,
        model: 0x1234,
        prompt: 0x00FF,
    };
    let confidence = Confidence::from_step(100);
    let answer = |body| {
        Message::Answer(Answer {
            query: 300,
            source,
            body,
        })
    };
    let query = |prompt| {
        Message::Query(Query {
            id: 300,
            tile: 4711,
            prompt,
        })
    };
    let roads = CellSet::from_bits(0b1);
    let buildings = CellSet::from_bits(0b1_0000_0000);
    vec![
        ("alert", Message::Alert(alert())),
        (
            "alert, all bits",
            Message::Alert(Alert {
                tile: u32::MAX,
                time: u32::MAX,
                confidence: Confidence::from_step(127),
                roads: 31,
                buildings: 255,
                roads_grid: CellSet::from_bits(0x1FF),
                buildings_grid: CellSet::from_bits(0x1FF),
                pair: u16::MAX,
            }),
        ),
        (
            "pair fault",
            Message::PairFault(PairFault {
                tile: 4711,
                time: 86_400,
                reason: FaultReason::Truncated,
                detail: text("tile_4711_after.png"),
            }),
        ),
        ("query: classify", query(Instruction::Classify.into())),
        ("query: count", query(Instruction::Count.into())),
        ("query: localize", query(Instruction::Localize.into())),
        ("query: caption", query(Instruction::Caption.into())),
        ("query: survey", query(Instruction::Survey.into())),
        (
            "query: open",
            query(Prompt::Open(text(
                "Are there any new villas near the lake?",
            ))),
        ),
        (
            "query: follow-up",
            query(Prompt::FollowUp {
                after: 299,
                text: text("how many?"),
            }),
        ),
        (
            "chip request",
            Message::PreviewRequest(PreviewRequest {
                id: 301,
                tile: 4711,
                picture: PreviewImage::After,
                level: 2,
            }),
        ),
        (
            "configure",
            Message::Configure(Configure {
                id: 302,
                setting: Setting::DutyCycle(10),
            }),
        ),
        ("ping", Message::Ping(7)),
        (
            "answer: classify",
            answer(AnswerBody::Classify {
                changed: true,
                confidence,
            }),
        ),
        (
            "answer: count",
            answer(AnswerBody::Count {
                roads: 1,
                buildings: 300,
                confidence,
            }),
        ),
        (
            "answer: localize",
            answer(AnswerBody::Localize {
                roads,
                buildings,
                confidence,
            }),
        ),
        (
            "answer: caption",
            answer(AnswerBody::Caption {
                text: text("two houses are built beside the road"),
                confidence,
            }),
        ),
        (
            "answer: survey",
            answer(AnswerBody::Survey {
                changed: true,
                confidence,
                roads: 1,
                buildings: 2,
                roads_grid: roads,
                buildings_grid: buildings,
                text: text("a road and two houses appear"),
            }),
        ),
        (
            "answer: text",
            answer(AnswerBody::Text {
                text: text("yes, near the top-left corner."),
                confidence,
            }),
        ),
        (
            "refusal",
            Message::Refusal(Refusal {
                query: 300,
                reason: RefusalReason::UnknownTarget,
            }),
        ),
        ("pong", Message::Pong(u32::MAX)),
        ("done", Message::Applied(302)),
        (
            "health",
            Message::Health(Health {
                uptime: 3_600,
                starts: 2,
                model: 0x1234,
                pairs: 100,
                faults: 1,
                alerts: 7,
                waiting: 3,
                disk_free: 12_000,
                memory: 95,
                temperature: Some(-5),
                frames_received: 1_000,
                frames_refused: 30,
                storage: StorageState::Working,
            }),
        ),
        (
            "chip",
            Message::Preview(PreviewPart {
                query: 301,
                picture: PreviewImage::After,
                level: 0,
                format: PreviewFormat::Rgb8,
                total: 3_072,
                offset: 960,
                data: heapless::Vec::from_slice(&[0, 1, 2, 253, 254, 255]).unwrap(),
            }),
        ),
    ]
}

#[test]
fn messages_are_as_committed() {
    let made = messages()
        .iter()
        .map(|(name, message)| {
            let mut body = [0; MAX_BODY];
            let length = message.encode(&mut body).unwrap();
            json!({
                "name": name, "kind": message.kind() as u8, "body": hex(&body[..length]), "means": format!("{message:?}"),
            })
        })
        .collect();
    let kept = committed("messages", &made);
    for ((name, message), vector) in messages().iter().zip(kept.as_array().unwrap()) {
        let kind = vector["kind"].as_u64().unwrap() as u8;
        let mut body = bytes(&vector["body"]);
        assert_eq!(Message::decode(kind, &body).as_ref(), Ok(message), "{name}");
        for length in 0..body.len() {
            assert!(
                Message::decode(kind, &body[..length]).is_err(),
                "{name}, cut to {length}"
            );
        }
        // A later version may append fields, behind the one that health leaves out where it has its
        // usual value.
        if matches!(message, Message::Health(_)) {
            body.push(0);
        }
        body.extend_from_slice(&[1, 2, 3]);
        assert_eq!(
            Message::decode(kind, &body).as_ref(),
            Ok(message),
            "{name}, with more behind"
        );
    }
}

#[test]
fn texts_are_as_committed() {
    const TEXTS: [&str; 12] = [
        "",
        "there is no difference",
        "no change has occurred",
        "a house is built",
        "two rows of villas are built along the road and some trees are removed",
        "several parking lots replace the woods in the lower-right corner",
        "Are there any changes in roads or lanes?",
        "yes, 3 new buildings near the top-left corner.",
        "please briefly describe the changes in these two images",
        "der Weg führt über den Fluß",
        "tile_4711_after.png",
        "  two  spaces ",
    ];
    let coded = |line: &str| {
        let mut coded = [0; CODED_MAX];
        let length = encode(&text(line), &mut coded);
        coded[..length].to_vec()
    };
    let made = TEXTS
        .iter()
        .map(|line| json!({ "text": line, "coded": hex(&coded(line)) }))
        .collect();
    for vector in committed("texts", &made).as_array().unwrap() {
        let decoded = decode(&bytes(&vector["coded"])).unwrap();
        assert_eq!(vector["text"], decoded.as_str());
    }
}
