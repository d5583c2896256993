//! The whole demo in one process, with an analyzer that needs no model: two programs, two serial
//! devices, a bad radio, a gap, and a report at the end.

use deltavlm_demo::{
    pairs,
    radio::ChannelModel,
    report,
    scenario::{self, Plan, RunEvent},
};
use deltavlm_host::{AnalysisError, AnalyzedAnswer, Analyzer, Detection, PairFiles};
use deltavlm_link::sim::Fate;
use deltavlm_messages::{
    Alert, AnswerBody, CellSet, Confidence, Instruction, Message, Prompt, Text,
};
use deltavlm_runtime::Turn;
use image::{GrayImage, imageops::FilterType};
use std::{path::Path, time::Duration};

/// Calls a cell of the grid changed when its mean grey value has moved.
struct MeanAnalyzer;

const CONFIDENCE: f32 = 0.93;
const SENTENCE: &str = "grey values have moved <b>\"here\"</b> & there";

impl MeanAnalyzer {
    /// What it sees, whether that is a change or not.
    fn look(pair: &PairFiles) -> Alert {
        let cells = Self::cells(pair);
        let grid = |least: u8| {
            let bits = (0..9).filter(|&i| cells[i] > least).map(|i| 1 << i).sum();
            CellSet::from_bits(bits)
        };
        let buildings_grid = grid(30);
        Alert {
            tile: pair.tile(),
            time: pair.time(),
            confidence: Confidence::from_fraction(CONFIDENCE),
            roads: 1,
            buildings: buildings_grid.bits().count_ones() as u8,
            roads_grid: grid(45),
            buildings_grid,
            pair: 7,
        }
    }

    fn cells(pair: &PairFiles) -> [u8; 9] {
        let small = |path: &Path| -> GrayImage {
            let picture = image::open(path).unwrap().into_luma8();
            image::imageops::resize(&picture, 3, 3, FilterType::Triangle)
        };
        let before = small(pair.before.as_deref().unwrap());
        let after = small(&pair.after);
        std::array::from_fn(|i| before.as_raw()[i].abs_diff(after.as_raw()[i]))
    }
}

impl Analyzer for MeanAnalyzer {
    fn model(&self) -> &str {
        "mean-grey"
    }

    fn detect(&mut self, pair: &PairFiles) -> Result<Detection, AnalysisError> {
        let seen = Self::look(pair);
        Ok(Detection {
            confidence: CONFIDENCE,
            change: (!seen.buildings_grid.is_empty()).then_some(seen),
        })
    }

    fn ask(
        &mut self,
        pair: &PairFiles,
        prompt: &Prompt,
        history: &[Turn],
    ) -> Result<AnalyzedAnswer, AnalysisError> {
        let seen = Self::look(pair);
        let (changed, confidence) = (!seen.buildings_grid.is_empty(), seen.confidence);
        let (roads, buildings) = (u16::from(seen.roads), u16::from(seen.buildings));
        let body = match prompt {
            Prompt::Fixed(Instruction::Classify) => AnswerBody::Classify {
                changed,
                confidence,
            },
            Prompt::Fixed(Instruction::Count) => AnswerBody::Count {
                roads,
                buildings,
                confidence,
            },
            Prompt::Fixed(Instruction::Localize) => AnswerBody::Localize {
                roads: seen.roads_grid,
                buildings: seen.buildings_grid,
                confidence,
            },
            Prompt::Fixed(Instruction::Caption) => AnswerBody::Caption {
                text: Text::truncated(SENTENCE),
                confidence,
            },
            Prompt::Fixed(Instruction::Survey) => AnswerBody::Survey {
                changed,
                confidence,
                roads,
                buildings,
                roads_grid: seen.roads_grid,
                buildings_grid: seen.buildings_grid,
                text: Text::truncated(SENTENCE),
            },
            Prompt::Open(text) | Prompt::FollowUp { text, .. } => {
                let (turns, text) = (history.len(), text.as_str());
                let text = Text::truncated(&format!("after {turns} turns: {text}"));
                AnswerBody::Text { text, confidence }
            }
            _ => unreachable!("the demo asks nothing else"),
        };
        Ok(AnalyzedAnswer {
            body,
            pair: seen.pair,
            turn: Turn {
                question: format!("{prompt:?}"),
                answer: SENTENCE.to_owned(),
            },
        })
    }
}

#[test]
fn every_change_is_alerted_once_every_question_answered_and_the_report_needs_nothing_else() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("pairs");
    let pairs = pairs::read(&sample).unwrap();
    assert!((6..=8).contains(&pairs.len()));
    let folder = tempfile::tempdir().unwrap();
    let channel = ChannelModel {
        baud: 9600,
        loss: 0.2,
        bit_errors: 1e-4,
        seed: 3,
    };
    let plan = Plan {
        pairs,
        channel,
        folder: folder.path(),
        deadline: Duration::from_secs(55),
    };
    let open = Box::new(|| Ok(Box::new(MeanAnalyzer) as Box<dyn Analyzer>));
    let mut alerted = Vec::new();
    let mut quiet = Vec::new();
    let run_log = scenario::run(plan, open, &mut |_, event| match event {
        RunEvent::Alert(name, _) => alerted.push(name.to_owned()),
        RunEvent::NoChange(name) => quiet.push(name.to_owned()),
        _ => {}
    })
    .unwrap();

    assert!(
        !alerted.is_empty() && !quiet.is_empty(),
        "{alerted:?} {quiet:?}"
    );
    assert_eq!(alerted.len() + quiet.len(), run_log.pair_logs.len());
    assert_eq!(alerted.len(), run_log.alerts(), "each alert came once");
    let (lost, found) = run_log.gap.unwrap();
    assert!(found - lost >= Duration::from_secs(6));
    let late = run_log
        .pair_logs
        .iter()
        .filter_map(|pair_log| pair_log.alert.as_ref());
    assert!(
        late.clone().any(|alert| alert.at > found),
        "some alerts waited for contact"
    );
    for alert in late {
        assert!(alert.wire_bytes <= 40, "{} bytes", alert.wire_bytes);
    }
    assert!(run_log.frames.iter().any(|frame| frame.fate == Fate::Lost));
    for pair_log in &run_log.pair_logs {
        assert!(!pair_log.exchanges.is_empty());
        for exchange in &pair_log.exchanges {
            let answer = exchange
                .answer
                .as_ref()
                .expect("every question is answered");
            assert!(
                matches!(answer.message, Message::Answer(_)),
                "{:?}",
                answer.message
            );
        }
    }
    let most = run_log
        .pair_logs
        .iter()
        .max_by_key(|pair_log| pair_log.exchanges.len())
        .unwrap();
    let texts: Vec<String> = most
        .exchanges
        .iter()
        .map(|exchange| exchange.answer.as_ref().unwrap().json.to_string())
        .collect();
    assert!(
        texts.iter().any(|text| text.contains("after 0 turns")),
        "{texts:?}"
    );
    assert!(
        texts.iter().any(|text| text.contains("after 1 turns")),
        "{texts:?}"
    );

    let out = std::env::var_os("DVLM_KEEP_REPORT")
        .map_or_else(|| folder.path().join("report"), Into::into);
    let index = report::write(&run_log, &out).unwrap();
    let page = std::fs::read_to_string(index).unwrap();
    for outside in [
        "http://", "https://", "src=\"/", "href=", "<script", "@import",
    ] {
        assert!(!page.contains(outside), "the report fetches {outside}");
    }
    assert!(page.contains("&lt;b&gt;&quot;here&quot;&lt;/b&gt; &amp; there"));
    for pair_log in &run_log.pair_logs {
        let sheet = out.join(format!("{}.png", pair_log.pair.name));
        assert_eq!(sheet.exists(), pair_log.alert.is_some());
        if sheet.exists() {
            assert!(image::open(sheet).unwrap().width() > 1000);
        }
    }
}
