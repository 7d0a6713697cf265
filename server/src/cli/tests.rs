//! The command line as people meet it: the announcement word for word, help texts, and one-line errors.

use super::*;
use std::fmt::Write as _;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[track_caller]
fn misuse(line: &str, expected: &str) {
    let error = parse(line).expect_err("it should be refused");
    assert!(error.use_stderr(), "{line}");
    assert_eq!(one_line(&error.render().to_string()), expected);
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_command_of_the_announcement_is_taken_word_for_word() {
    // A shell has taken the quotation marks away.
    let line = "cistern pipelines create clickstream-ingest-prod --batch-size=1MB --batch-timeout-secs=120 \
                --batch-on-json-key=.merchantId --destination-bucket=prod-cs-data";
    let cli = parse(line).unwrap();
    assert!(matches!(cli.command, Command::Pipelines(pipelines::PipelinesCommand::Create(_))));
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    for line in ["cistern --json --api-token T bucket list", "cistern bucket list --json --api-token T"] {
        let cli = parse(line).unwrap();
        assert!(cli.global.json, "{line}");
        assert_eq!(cli.global.api_token.as_deref(), Some("T"), "{line}");
    }
}

#[test]
fn misuse_is_one_line_that_says_what_would_be_right() {
    misuse(
        "cistern bucket create Logs",
        "error: invalid value 'Logs' for '<NAME>': invalid bucket name \"Logs\": use 3 to 63 lower-case letters, digits, \
         hyphens and dots, beginning and ending with a letter or digit; no address, no dot beside a dot or hyphen, no name that begins with \
         xn-- or ends with -s3alias",
    );
    misuse("cistern object put logs", "error: invalid value 'logs' for '<PATH>': use BUCKET/KEY");
    misuse(
        "cistern pipelines create p --destination-buckt=b",
        "error: unexpected argument '--destination-buckt' found; tip: a similar argument exists: '--destination-bucket'; \
         Usage: cistern pipelines create --destination-bucket <BUCKET> <NAME>",
    );
    misuse(
        "cistern pipelines create p --destination-bucket=bbb --batch-size=1XB",
        "error: invalid value '1XB' for '--batch-size <SIZE>': invalid size \"1XB\": use a number and a unit, such as 1MB, \
         64MiB or 512",
    );
    misuse(
        "cistern pipelines create p",
        "error: the following required arguments were not provided: --destination-bucket <BUCKET>; \
         Usage: cistern pipelines create --destination-bucket <BUCKET> <NAME>",
    );
}

#[test]
fn flags_of_serve_become_the_top_layer() {
    let cli =
        parse("cistern serve --data-dir /d --drives /a --drives /b{1...2} --parity 1 --s3-listen 127.0.0.1:0").unwrap();
    let Command::Serve(arguments) = cli.command else { panic!("serve is serve") };
    let config = config::Config::new(&RawConfig::defaults().under(arguments.to_raw())).unwrap();
    assert_eq!(config.storage.drives.len(), 3);
    assert_eq!((config.storage.code.parity, config.listen.s3.address.port()), (1, 0));
    assert_eq!(config.data_dir, PathBuf::from("/d"));
}

#[test]
fn a_wrong_flag_is_named_as_the_origin() {
    let cli = parse("cistern serve --parity many").unwrap();
    let Command::Serve(arguments) = cli.command else { panic!("serve is serve") };
    let error = config::Config::new(&RawConfig::defaults().under(arguments.to_raw())).unwrap_err();
    assert_eq!(error.to_string(), "storage.parity (--parity): use a number of drives, 0 to 4");
}

/// The help of every command, in one text: whoever changes it sees what people will see.
#[test]
fn help_texts_are_reviewed() {
    let mut text = String::new();
    let mut command = Cli::command().term_width(120);
    command.build();
    gather_help(&mut command, "cistern", &mut text);
    insta::assert_snapshot!(text);
}

fn gather_help(command: &mut clap::Command, path: &str, text: &mut String) {
    writeln!(text, "==== {path}\n{}", command.render_help().to_string().trim_end()).unwrap();
    for name in command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect::<Vec<_>>() {
        if name == "help" {
            continue;
        }
        let inner = command.find_subcommand_mut(&name).expect("the name was just listed");
        gather_help(inner, &format!("{path} {name}"), text);
    }
}
