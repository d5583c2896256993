//! What holds for every answer, whatever the weights say.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use deltavlm_runtime::{
    Answer, AnswerContent, Budget, EngineChoice, Error, Fault, Instruction, Model, Request,
};

use crate::fixture::{bundle, free, noise, open, options, pair};

pub(crate) fn constrained_answers_parse(engine: EngineChoice) {
    for precision in ["f32", "int8"] {
        let mut model = open(engine, precision);
        for seed in 0..12 {
            let (width, height) = (1 + seed * 37 % 300, 1 + seed * 91 % 200);
            let pair = model
                .pair(
                    &noise(seed, width, height),
                    &noise(seed + 1000, width, height),
                )
                .unwrap();
            let survey = model.survey(&pair).unwrap();
            let names: Vec<&str> = survey
                .answers
                .iter()
                .map(|answer| answer.content.instruction_name())
                .collect();
            assert_eq!(names, ["classify", "count", "localize", "caption"]);
            for answer in &survey.answers {
                assert!(
                    !matches!(answer.content, AnswerContent::Unparsed { .. }),
                    "{}",
                    answer.text
                );
                assert!(
                    (0.0..=1.0 + 1e-5).contains(&answer.confidence),
                    "{}",
                    answer.confidence
                );
                if let AnswerContent::Localize { roads, buildings } = answer.content {
                    for confidence in roads.confidence.iter().chain(&buildings.confidence) {
                        assert!((0.0..=1.0 + 1e-5).contains(confidence));
                    }
                }
            }
            assert!(survey.answers[..3].iter().all(|answer| answer.complete));
        }
    }
}

/// All that agrees with the finding is what the question alone gives, and nothing
/// else remains. The weights are random, so that answers do contradict one another.
pub(crate) fn a_survey_speaks_with_one_voice(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let (mut kept, mut mended, mut findings) = (0, 0, [0, 0]);
    for seed in 0..16 {
        let pair = model
            .pair(&noise(seed, 64, 64), &noise(seed + 500, 64, 64))
            .unwrap();
        let survey = model.survey(&pair).unwrap();
        let finding = survey.finding.unwrap();
        assert!((0.5..=1.0).contains(&finding.confidence));
        findings[usize::from(finding.changed)] += 1;
        for (instruction, answer) in Instruction::SINGLE.into_iter().zip(&survey.answers) {
            assert!(
                agrees(answer, finding.changed),
                "{seed}: {}: {} against {finding:?}",
                instruction.name(),
                answer.text
            );
            let alone = model.ask(&pair, &Request::fixed(instruction)).unwrap();
            if agrees(&alone, finding.changed) {
                assert_eq!(alone.ids, answer.ids, "{}", instruction.name());
                kept += 1;
            } else {
                mended += 1;
            }
            if instruction == Instruction::Classify {
                assert_eq!(answer.confidence, finding.confidence);
            }
        }
    }
    assert!(
        kept > 0 && mended > 0,
        "{kept} kept, {mended} mended, findings {findings:?}"
    );
}

fn agrees(answer: &Answer, changed: bool) -> bool {
    match &answer.content {
        AnswerContent::Classify { changed: said } => *said == changed,
        AnswerContent::Count { roads, buildings } => {
            (roads.number + buildings.number > 0) == changed
        }
        AnswerContent::Localize { roads, buildings } => {
            changed || roads.cells.is_empty() && buildings.cells.is_empty()
        }
        AnswerContent::Caption => {
            deltavlm_bundle::UNCHANGED_CAPTIONS.contains(&answer.text.as_str()) != changed
        }
        _ => false,
    }
}

pub(crate) fn rows_of_a_batch_do_not_disturb_each_other(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let prompts = [
        "a",
        "Is there any new construction visible in the images?",
        "where are the roads",
    ];
    let requests: Vec<Request> = prompts.iter().map(|prompt| free(prompt)).collect();
    let together = model
        .ask_within(&pair, &requests, Budget::UNLIMITED)
        .unwrap()
        .answers;
    for (request, answer) in requests.iter().zip(&together) {
        assert_eq!(model.ask(&pair, request).unwrap().ids, answer.ids);
    }
}

pub(crate) fn the_cache_changes_nothing(engine: EngineChoice) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(engine);
    options.cache.memory_bytes = 1 << 20;
    options.cache.directory = Some(directory.path().to_owned());
    let mut first = Model::open(bundle("f32"), &options).unwrap();
    let fresh = pair(&mut first);
    let cached = pair(&mut first);
    assert!(!fresh.before_was_cached() && cached.before_was_cached());
    assert!(cached.timing().vision < fresh.timing().vision);
    let mut second = Model::open(bundle("f32"), &options).unwrap();
    let from_disk = pair(&mut second);
    assert!(from_disk.before_was_cached());
    let expected = first.survey(&fresh).unwrap();
    for (model, pair) in [(&mut first, &cached), (&mut second, &from_disk)] {
        let survey = model.survey(pair).unwrap();
        for (answer, expected) in survey.answers.iter().zip(&expected.answers) {
            assert_eq!(
                (&answer.ids, answer.confidence),
                (&expected.ids, expected.confidence)
            );
        }
    }
}

pub(crate) fn deadlines_and_cancellation_stop_an_ask(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let caption = [Request::fixed(Instruction::Caption)];
    let error = model
        .ask_within(&pair, &caption, &Budget::until(Instant::now()))
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(error.fault(), Fault::Machine);

    let flag = Arc::new(AtomicBool::new(true));
    let error = model
        .ask_within(
            &pair,
            &[Request::question("why")],
            &Budget::cancelled_by(flag),
        )
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");

    // In the middle of a long answer.
    let soon = Instant::now() + Duration::from_millis(5);
    let long = [free("a").max_tokens(200)];
    if let Err(error) = model.ask_within(&pair, &long, &Budget::until(soon)) {
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(soon.elapsed() < Duration::from_secs(5));
    }
    model
        .ask(&pair, &Request::fixed(Instruction::Classify))
        .unwrap();
}

pub(crate) fn int8_answers_like_f32(engine: EngineChoice) {
    let (mut reference, mut quantised) = (open(engine, "f32"), open(engine, "int8"));
    let (one, other) = (pair(&mut reference), pair(&mut quantised));
    let ask = |model: &mut Model, pair| {
        model
            .ask(pair, &Request::fixed(Instruction::Classify))
            .unwrap()
    };
    let (one, other) = (ask(&mut reference, &one), ask(&mut quantised, &other));
    let probability = |answer: &deltavlm_runtime::Answer| match answer.content {
        AnswerContent::Classify { changed: true } => answer.confidence,
        _ => 1.0 - answer.confidence,
    };
    let difference = (probability(&one) - probability(&other)).abs();
    assert!(difference < 0.05, "{difference}");
}

pub(crate) fn a_long_dialogue_loses_its_oldest_turns(engine: EngineChoice) {
    let mut model = open(engine, "f32");
    let pair = pair(&mut model);
    let turn = |question: &str| deltavlm_runtime::Turn {
        question: question.to_owned(),
        answer: "there are no changes in roads or buildings".to_owned(),
    };
    let history: Vec<_> = (0..8)
        .map(|_| turn("are there any changes in roads or lanes?"))
        .collect();
    let request = Request::follow_up(history, "and now?").max_tokens(4);
    let answer = model.ask(&pair, &request).unwrap();
    // 50 words hold "q and now?" and two turns of 18 words.
    assert!(
        (5..8).contains(&answer.trimmed_turns),
        "{}",
        answer.trimmed_turns
    );
    let short = Request::follow_up(vec![turn("any?")], "and now?").max_tokens(4);
    assert_eq!(model.ask(&pair, &short).unwrap().trimmed_turns, 0);
}

pub(crate) fn memory_stays_flat(engine: EngineChoice) {
    let mut model = open(engine, "int8");
    let pair = pair(&mut model);
    let requests = [
        Request::fixed(Instruction::Classify),
        free("a").max_tokens(3),
    ];
    let mut ask = |times: usize| {
        for index in 0..times {
            model.ask(&pair, &requests[index % 2]).unwrap();
        }
        deltavlm_runtime::resident_bytes().unwrap_or(0)
    };
    let before = ask(300);
    let after = ask(1500);
    // Other tests of this process run beside this one, hence the margin; a leak of
    // one KV cache per ask would be tens of megabytes.
    assert!(
        after < before + (24 << 20),
        "{} MiB more",
        (after - before) >> 20
    );
}

pub(crate) fn answers_agree() {
    for precision in ["f32", "int8"] {
        let mut tract = open(EngineChoice::Tract, precision);
        let mut ort = open(EngineChoice::Ort, precision);
        for seed in 0..6 {
            let (before, after) = (noise(seed, 80, 60), noise(seed + 77, 80, 60));
            let (one, other) = (
                tract.pair(&before, &after).unwrap(),
                ort.pair(&before, &after).unwrap(),
            );
            let one = tract
                .ask(&one, &Request::fixed(Instruction::Classify))
                .unwrap();
            let other = ort
                .ask(&other, &Request::fixed(Instruction::Classify))
                .unwrap();
            let tolerance = if precision == "f32" { 1e-3 } else { 3e-2 };
            if one.content == other.content {
                assert!(
                    (one.confidence - other.confidence).abs() < tolerance,
                    "{precision}"
                );
            } else {
                assert!((one.confidence - 0.5).abs() < tolerance, "{precision}");
            }
        }
    }
}
