//! Layers, unknown names, values that do not fit, and masking.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Result<RawConfig> {
    RawConfig::from_environment(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

/// The configuration of a file, an environment and flags.
fn load(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config> {
    let mut over = RawConfig::default();
    for (key, value) in flags {
        over.set(key, Value::Text((*value).into()), Origin::Flag("--flag"));
    }
    let file = RawConfig::from_toml(file, "cistern.toml")?;
    Config::new(&RawConfig::defaults().under(file).under(environment(variables)?).under(over))
}

#[track_caller]
fn refused(file: &str, variables: &[(&str, &str)], expected: &str) {
    let error = load(file, variables, &[]).expect_err("it should be refused").to_string();
    assert_eq!(error, expected);
    assert!(!error.contains('\n'), "one line");
}

#[test]
fn nothing_at_all_is_a_working_configuration() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./cistern-data"));
    assert_eq!(config.storage.drives.len(), 6);
    assert_eq!(config.storage.drives[5], PathBuf::from("./cistern-data/drives/d6"));
    assert_eq!((config.storage.code.parity, config.storage.view), (2, ViewKind::Fjall));
    assert_eq!(config.listen.s3.address.to_string(), "127.0.0.1:9000");
    assert_eq!(config.listen.management.address.to_string(), "127.0.0.1:9001");
    assert_eq!(config.listen.ingest.address.to_string(), "127.0.0.1:8443");
    assert!(config.credentials.api_token.is_none() && config.without_effect.is_empty());
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = "[s3]\nlisten = \"127.0.0.1:1\"";
    let variables = [("CISTERN_S3__LISTEN", "127.0.0.1:2")];
    let flags = [("s3.listen", "127.0.0.1:3")];
    let port = |file, variables: &[_], flags: &[_]| load(file, variables, flags).unwrap().listen.s3.address.port();
    assert_eq!(port("", &[], &[]), 9000);
    assert_eq!(port(file, &[], &[]), 1);
    assert_eq!(port(file, &variables, &[]), 2);
    assert_eq!(port(file, &variables, &flags), 3);
}

#[test]
fn the_commands_look_where_the_server_is_configured_to_listen() {
    let url = |file| {
        let file = RawConfig::from_toml(file, "cistern.toml").unwrap();
        ClientConfig::new(&RawConfig::defaults().under(file)).configured_url
    };
    assert_eq!(url(""), "http://127.0.0.1:9001");
    assert_eq!(url("[management]\nlisten = \"10.0.0.7:19001\""), "http://10.0.0.7:19001");
    assert_eq!(url("[management]\nlisten = \"0.0.0.0:1\"\ntls_certificate = \"c.pem\""), "https://127.0.0.1:1");
    assert_eq!(url("[management]\nlisten = \"[::]:1\""), "http://[::1]:1");
    assert_eq!(url("[management]\nlisten = \"localhost:19001\""), "http://127.0.0.1:19001");
}

#[test]
fn a_named_file_must_exist_and_the_first_place_wins_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.toml"), folder.path().join("second.toml"));
    std::fs::write(&second, "log = \"warn\"").unwrap();
    let surroundings = Surroundings { environment: vec![], file_places: vec![first.clone(), second] };
    let log = || Config::new(&surroundings.layers(None, RawConfig::default()).unwrap()).unwrap().log;
    assert_eq!(log(), "warn");
    let missing = surroundings.layers(Some(&first), RawConfig::default()).unwrap_err();
    assert!(missing.to_string().starts_with("read the configuration file "), "{missing}");
    std::fs::write(&first, "log = \"debug\"").unwrap();
    assert_eq!(log(), "debug");
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() {
    refused("[s3]\nlisen = \"x\"", &[], "unknown setting s3.lisen in cistern.toml; did you mean s3.listen?");
    refused("data-dir = \"x\"", &[], "unknown setting data-dir in cistern.toml; did you mean data_dir?");
    refused(
        "[storage.drive]\nx = 1",
        &[],
        "unknown setting storage.drive in cistern.toml; did you mean storage.drives?",
    );
    refused("zzz = 1", &[], "unknown setting zzz in cistern.toml; see `cistern config show`");
    let typo = [("CISTERN_STORAGE__PARTY", "2")];
    refused(
        "",
        &typo,
        "unknown setting CISTERN_STORAGE__PARTY in the environment; did you mean CISTERN_STORAGE__PARITY?",
    );
}

#[test]
fn the_environment_of_others_is_left_alone() {
    let others =
        [("HOME", "/"), ("CISTERN_SERVICE_HOST", "10.0.0.1"), ("CISTERN_PORT_9000_TCP", "tcp://10.0.0.1:9000")];
    assert_eq!(environment(&others).unwrap(), RawConfig::default());
}

#[test]
fn a_value_that_does_not_fit_names_its_place_and_what_would_fit() {
    refused(
        "",
        &[("CISTERN_S3__LISTEN", "9000")],
        "s3.listen (CISTERN_S3__LISTEN): \"9000\" is not an address; use HOST:PORT with an IP address, such as 0.0.0.0:9000",
    );
    refused("[storage]\nview = \"rocks\"", &[], "storage.view (cistern.toml): use fjall or sled");
    refused(
        "[storage]\nsegment_size = \"4MiB\"",
        &[],
        "storage.segment_size (cistern.toml): use 8MiB to 1GiB in whole MiB",
    );
    refused(
        "[storage]\nsegment_size = \"9MB\"",
        &[],
        "storage.segment_size (cistern.toml): use 8MiB to 1GiB in whole MiB",
    );
    refused("[storage]\ngarbage_grace = \"0s\"", &[], "storage.garbage_grace (cistern.toml): use 1s to 720h");
    refused("[ingest]\nbuffer = \"1MiB\"", &[], "ingest.buffer (cistern.toml): use 32MiB to 3GiB");
    refused("[ingest]\nlate_max = \"1s\"", &[], "ingest.late_max (cistern.toml): use 10s to 168h");
    refused("[storage]\nview_cache = \"1KB\"", &[], "storage.view_cache (cistern.toml): use 1MiB to 64GiB");
    refused(
        "[storage]\nparity = 6",
        &[],
        "storage.parity (cistern.toml): 6 of 6 drives cannot be parity; use at most 3",
    );
    refused("[storage]\nparity = -1", &[], "storage.parity (cistern.toml): use a number of drives, 0 to 4");
    refused("log = true", &[], "log (cistern.toml): use a text or a number");
    assert!(load("[storage]\naccept_loss = true", &[], &[]).unwrap().storage.accept_loss);
    refused("[storage]\ndrives = [1]", &[], "storage.drives (cistern.toml): use a list of texts");
    refused("log_format = \"xml\"", &[], "log_format (cistern.toml): use human or json");
    refused("account_id = \"x\"", &[], "account_id (cistern.toml): invalid account id \"x\": use 32 hex digits");
    refused(
        "[s3]\ndomain = \"a:9000\"",
        &[],
        "s3.domain (cistern.toml): \"a:9000\" is not a domain; use a host name without port, such as s3.example.com",
    );
}

#[test]
fn limits_are_those_of_s3_unless_they_are_set_and_fit_into_each_other() {
    let limits = |text: &str| load(&format!("[s3]\n{text}"), &[], &[]).unwrap().s3_limits;
    let shown = |limits: S3Limits| {
        let S3Limits { object_size_max, put_size_max, part_size_min, parts_max, metadata_size_max } = limits;
        format!("{object_size_max} {put_size_max} {part_size_min} {parts_max} {metadata_size_max}")
    };
    assert_eq!(shown(limits("")), "5TiB 5GiB 5MiB 10000 2KiB");
    let of_r2 =
        "object_size_max = \"5115GiB\"\nput_size_max = \"5115MiB\"\nmetadata_size_max = \"8KiB\"\nparts_max = 100";
    assert_eq!(shown(limits(of_r2)), "5115GiB 5115MiB 5MiB 100 8KiB");
    for (text, expected) in [
        ("object_size_max = \"0\"", "s3.object_size_max (cistern.toml): use at least 1B"),
        ("part_size_min = 0", "s3.part_size_min (cistern.toml): use at least 1B"),
        (
            "put_size_max = \"6TiB\"",
            "s3.put_size_max (cistern.toml): 6TiB is more than s3.object_size_max; use at most 5TiB, or raise that",
        ),
        (
            "object_size_max = \"1GiB\"",
            "s3.put_size_max (default): 5GiB is more than s3.object_size_max; use at most 1GiB, or raise that",
        ),
        (
            "part_size_min = \"6GiB\"",
            "s3.part_size_min (cistern.toml): 6GiB is more than s3.put_size_max; use at most 5GiB, or raise that",
        ),
        ("parts_max = 0", "s3.parts_max (cistern.toml): use a number of parts, 1 to 10000"),
        ("parts_max = 10001", "s3.parts_max (cistern.toml): use a number of parts, 1 to 10000"),
        ("parts_max = \"many\"", "s3.parts_max (cistern.toml): use a number of parts, 1 to 10000"),
        ("metadata_size_max = \"33KiB\"", "s3.metadata_size_max (cistern.toml): use 1B to 32KiB"),
    ] {
        refused(&format!("[s3]\n{text}"), &[], expected);
    }
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let error = load("log = \"info\"\n[s3\n", &[], &[]).unwrap_err().to_string();
    assert!(error.starts_with("cistern.toml is not TOML: line 2: "), "{error}");
}

#[test]
fn drives_come_as_list_range_or_comma_list_and_parity_follows_their_number() {
    let shape = |file: &str, variables: &[(&str, &str)]| {
        let storage = load(file, variables, &[]).unwrap().storage;
        (storage.drives.len(), storage.code.parity)
    };
    assert_eq!(shape("[storage]\ndrives = [\"/a\", \"/b\", \"/c\"]", &[]), (3, 1));
    assert_eq!(shape("[storage]\ndrives = \"/mnt/d{1...11}\"", &[]), (11, 3));
    assert_eq!(shape("", &[("CISTERN_STORAGE__DRIVES", "/a, /b{1...5}")]), (6, 2));
    assert_eq!(shape("", &[("CISTERN_STORAGE__DRIVES", "/a")]), (1, 0));
    assert_eq!(shape("", &[("CISTERN_STORAGE__PARITY", "1")]), (6, 1));
}

#[test]
fn a_code_makes_sets_of_the_drives_and_infrequent_access_may_have_a_wider_one() {
    let shape = |text: &str| {
        let storage = load(&format!("[storage]\n{text}"), &[], &[]).unwrap().storage;
        (storage.code.to_string(), storage.infrequent_access.code.to_string())
    };
    let both = |code: &str| (code.to_owned(), code.to_owned());
    assert_eq!(shape(""), both("4+2"));
    assert_eq!(shape("code = \"5 + 1\""), both("5+1"));
    let twelve = "drives = \"/mnt/d{1...12}\"\ncode = \"4+2\"\n";
    assert_eq!(shape(twelve), both("4+2"));
    let wide = format!("{twelve}infrequent_access.code = \"9+3\"");
    assert_eq!(shape(&wide), ("4+2".into(), "9+3".into()));
    for (text, expected) in [
        ("code = \"6\"", "storage.code (cistern.toml): \"6\" is not a code; use data + parity drives, such as 4+2"),
        (
            "code = \"3+2\"",
            "storage.code (cistern.toml): 6 drives do not make whole sets of 5; give 5 or 10 drives, or use another code",
        ),
        (
            "code = \"8+3\"",
            "storage.code (cistern.toml): 6 drives do not make whole sets of 11; give 11 drives, or use another code",
        ),
        (
            "code = \"2+4\"",
            "storage.code (cistern.toml): a set of 2+4 drives cannot be; \
             use at least as many data as parity drives, at most 4 with parity, 20 in all",
        ),
        ("code = \"4+2\"\nparity = 2", "storage.code (cistern.toml): storage.parity is set too; set one of the two"),
        (
            "drives = \"/mnt/d{1...24}\"",
            "storage.drives (cistern.toml): 24 drives are more than one set may have; set storage.code, such as 8+4, for several sets",
        ),
        (
            "drives = \"/mnt/d{1...34}\"\ncode = \"1+1\"",
            "storage.code (cistern.toml): 34 drives would be 17 sets; use a wider code: at most 16 sets",
        ),
        (
            "infrequent_access.code = \"9+3\"",
            "storage.infrequent_access.code (cistern.toml): 6 drives do not make whole sets of 12; give 12 drives, or use another code",
        ),
        (
            "infrequent_access.compression = \"gzip\"",
            "storage.infrequent_access.compression (cistern.toml): use zstd or none",
        ),
    ] {
        refused(&format!("[storage]\n{text}"), &[], expected);
    }
}

#[test]
fn infrequent_access_has_larger_segments_unless_they_are_set() {
    let size = |text: &str| {
        let storage = load(&format!("[storage]\n{text}"), &[], &[]).unwrap().storage;
        storage.infrequent_access.segment_size.as_u64() >> 20
    };
    assert_eq!(size(""), 128);
    assert_eq!(size("segment_size = \"8MiB\""), 16);
    assert_eq!(size("segment_size = \"1GiB\""), 1024);
    assert_eq!(size("infrequent_access.segment_size = \"256MiB\""), 256);
}

#[test]
fn settings_of_other_versions_are_taken_and_named() {
    let config = load("", &[("CISTERN_LIFECYCLE__DAY_SECONDS", "10")], &[]).unwrap();
    assert_eq!(config.without_effect, ["lifecycle.day_seconds"]);
}

#[test]
fn what_is_shown_reads_back_as_the_same_file_and_masks_secrets() {
    let variables = [("CISTERN_API_TOKEN", "very-secret"), ("CISTERN_STORAGE__DRIVES", "/a,/b")];
    let raw = RawConfig::defaults().under(environment(&variables).unwrap());
    let text = to_toml(&shown(&raw));
    assert!(!text.contains("very-secret") && text.contains("api_token = \"***\"  # CISTERN_API_TOKEN"), "{text}");
    assert!(!serde_json::to_string(&shown(&raw)).unwrap().contains("very-secret"));
    let again = RawConfig::from_toml(&text, "shown").unwrap();
    assert_eq!(again.get("storage.drives").unwrap().value, Value::List(vec!["/a".into(), "/b".into()]));
    assert_eq!(again.text("s3.listen").unwrap(), "127.0.0.1:9000");
    insta::assert_snapshot!(text);
}

#[test]
fn every_environment_name_follows_from_its_key() {
    for setting in settings::SETTINGS {
        let raw = environment(&[(&setting.environment_name(), "x")]).unwrap();
        assert_eq!(raw.text(setting.key).as_deref(), Some("x"), "{}", setting.key);
    }
}
