use super::*;

const GOOD: &str = r#"
    [model]
    bundle = "bundle"
    [watch]
    before = "before"
    after = "after"
    [link]
    address = "serial:/dev/ttyUSB0:57600"
    [spool]
    dir = "spool"
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = Config::parse(text, Path::new("/etc/deltavlm")).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shortest_configuration_gets_sensible_defaults() {
    let config = Config::parse(GOOD, Path::new("/etc/deltavlm")).unwrap();
    assert_eq!(config.model.bundle, Path::new("/etc/deltavlm/bundle"));
    assert_eq!(config.model.engine, "auto");
    assert_eq!(config.model.decode_options().white, None);
    assert_eq!(config.link.rate, 5184, "nine tenths of 57600 baud");
    assert_eq!(config.watch.settle, Duration::from_secs(2));
    assert_eq!(config.health.every, Duration::from_secs(300));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = r#"
        [model]
        engine = "magic"
        bundel = "bundle"
        [watch]
        before = "pictures"
        after = "pictures"
        poll_s = -1
        [link]
        address = "serial:/dev/ttyUSB0"
        mtu = 1000
        [alarm]
        loud = true
        [query]
        queue = "many"
        [spool]
    "#;
    let found = problems(text);
    for expected in [
        "model.bundle: is missing",
        "model.engine: `magic` is no engine",
        "model.bundel: unknown key; did you mean `bundle`?",
        "watch.after: is the same as `before`",
        "watch.poll_s: -1 is out of bounds",
        "link.address: `serial:/dev/ttyUSB0` is not complete",
        "link.mtu: ",
        "alarm: unknown section; did you mean `alert`?",
        "query.queue: invalid type",
        "spool.dir: is missing",
    ] {
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{expected}\nin {found:#?}"
        );
    }
    assert_eq!(found.len(), 10, "{found:#?}");
}

#[test]
fn an_empty_file_names_every_field_that_is_needed() {
    let found = problems("");
    for key in [
        "model.bundle",
        "watch.before",
        "watch.after",
        "link.address",
        "spool.dir",
    ] {
        assert!(
            found.iter().any(|line| line.contains(key)),
            "{key} in {found:?}"
        );
    }
}

#[test]
fn a_syntax_error_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.toml");
    std::fs::write(&path, "[model\nbundle = 1").unwrap();
    let found = Config::read(&path).unwrap_err();
    assert_eq!(found.len(), 1);
    let text = found[0].to_string();
    assert!(
        text.contains("host.toml") && text.contains("line 1"),
        "{text}"
    );
}

#[test]
fn a_section_that_is_no_table_is_a_problem_not_a_panic() {
    let found = problems(&format!(
        "model = 3\n{}",
        GOOD.replace("[model]", "[health]")
    ));
    assert!(
        found
            .iter()
            .any(|line| line.contains("model: is not a section")),
        "{found:?}"
    );
}
