//! One suite for every engine: what an engine gives must not depend on which it is.
//!
//! The f32 bundle is compared with what independent implementations computed
//! (`export/tests/golden/make_golden.py`): every segment, and free decoding token
//! by token, greedy and with five beams. Tests of ONNX Runtime are ignored where
//! `ORT_DYLIB_PATH` and the usual places have no library.

mod behaviour;
mod fixture;
mod reference;

use deltavlm_runtime::{EngineChoice, Model};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::behaviour::*;
use crate::fixture::{bundle, options};
use crate::reference::*;

/// A check of one engine.
type Test = fn(EngineChoice);

fn main() {
    let arguments = Arguments::from_args();
    let has_library = Model::open(bundle("f32"), &options(EngineChoice::Ort)).is_ok();
    if !has_library {
        eprintln!("no ONNX Runtime library: its tests are ignored; name one with ORT_DYLIB_PATH");
    }
    let checks: [(&str, Test); 13] = [
        ("segments_equal_the_reference", segments_equal_the_reference),
        (
            "free_decoding_equals_the_reference",
            free_decoding_equals_the_reference,
        ),
        (
            "beam_search_equals_the_reference",
            beam_search_equals_the_reference,
        ),
        (
            "an_id_without_text_ends_nothing",
            an_id_without_text_ends_nothing,
        ),
        ("constrained_answers_parse", constrained_answers_parse),
        (
            "a_survey_speaks_with_one_voice",
            a_survey_speaks_with_one_voice,
        ),
        (
            "rows_of_a_batch_do_not_disturb_each_other",
            rows_of_a_batch_do_not_disturb_each_other,
        ),
        (
            "a_forced_run_is_its_tokens_one_by_one",
            a_forced_run_is_its_tokens_one_by_one,
        ),
        ("the_cache_changes_nothing", the_cache_changes_nothing),
        (
            "deadlines_and_cancellation_stop_an_ask",
            deadlines_and_cancellation_stop_an_ask,
        ),
        ("int8_answers_like_f32", int8_answers_like_f32),
        (
            "a_long_dialogue_loses_its_oldest_turns",
            a_long_dialogue_loses_its_oldest_turns,
        ),
        ("memory_stays_flat", memory_stays_flat),
    ];
    let mut trials = Vec::new();
    for (engine, name, present) in [
        (EngineChoice::Tract, "tract", cfg!(feature = "tract")),
        (EngineChoice::Ort, "ort", has_library),
    ] {
        for (check, function) in checks {
            let trial = Trial::test(format!("{name}::{check}"), move || {
                function(engine);
                Ok::<(), Failed>(())
            });
            trials.push(trial.with_ignored_flag(!present));
        }
    }
    // An engine that was not built has nothing to agree with.
    let agree = Trial::test("both::answers_agree", || {
        answers_agree();
        Ok(())
    });
    trials.push(agree.with_ignored_flag(!has_library || !cfg!(feature = "tract")));
    libtest_mimic::run(&arguments, trials).exit();
}
