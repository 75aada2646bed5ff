//! The files for deployment. No container engine and no systemd run here, so the files are read and compared with what
//! they must say. The configuration in the manifest is loaded. The unit has been run by hand (tests/README.md).

use std::fs;
use std::path::Path;
use std::process::Command;

use relay::assemble::load;
use relay::assemble::worst_case::WorstCase;
use relay::config::files::Memory;
use relay::config::keys::Absent;
use relay::schema::compile::SchemaCache;
use relay::time::Time;
use yaml_rust2::{Yaml, YamlLoader};

use crate::program::Place;
use crate::tour::copy;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_unit_speaks_to_the_supervisor_and_is_not_restarted_with_a_bad_configuration() {
    let text = read("deploy/relay.service");
    let keys: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for key in [
        "Type=notify-reload",
        "RestartPreventExitStatus=78",
        "Restart=on-failure",
        "StartLimitIntervalSec=0",
        "WatchdogSec=30s",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
    ] {
        assert!(keys.contains(&key), "{key}");
    }
    // RestartPreventExitStatus covers the main process only: after a failed check in ExecStartPre the unit would be
    // restarted.
    assert!(!keys.iter().any(|key| key.starts_with("ExecStartPre=")));
    for line in keys {
        let section = line.starts_with('[') && line.ends_with(']');
        assert!(
            section || line.split_once('=').is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric)),
            "{line}"
        );
    }
}

#[test]
fn the_image_holds_the_program_and_nobody_to_break_out_as() {
    let text = read("deploy/Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let last = lines.iter().rposition(|line| line.starts_with("FROM ")).expect("a stage");
    assert!(lines[last] == "FROM scratch" && lines[last..].contains(&"USER 65532:65532"));
    assert!(lines[last..].iter().all(|line| !line.starts_with("RUN ")), "there is nothing to run it with");
    let words =
        ["FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD", "ENV", "ARG", "LABEL"];
    let is_known = |line: &&str| line.starts_with(' ') || words.contains(&line.split(' ').next().unwrap_or_default());
    assert_eq!(lines.iter().find(|line| !is_known(line)), None);
    assert!(lines.iter().any(|line| line.contains("--locked")) && !text.contains("STOPSIGNAL SIGKILL"));
    assert!(lines[0].contains(concat!("rust:", env!("CARGO_PKG_RUST_VERSION"))), "{}", lines[0]);
}

/// Cargo refuses a manifest that names missing files, even when it builds the program alone.
#[test]
fn what_the_image_is_built_from_is_a_package() {
    let place = Place::new("image");
    let text = read("deploy/Dockerfile");
    let copied: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("COPY ")).take(2).collect();
    assert_eq!(copied, ["Cargo.toml Cargo.lock ./", "src ./src"]);
    for file in ["Cargo.toml", "Cargo.lock"] {
        place.write(file, &read(file));
    }
    copy(Path::new("src"), &place.0.join("src"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version=1"]).current_dir(&place.0);
    let output = metadata.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn find<'a>(documents: &'a [Yaml], kind: &str) -> &'a Yaml {
    documents.iter().find(|document| document["kind"].as_str() == Some(kind)).expect(kind)
}

#[test]
fn the_manifest_runs_it_as_nobody_with_probes_and_time_to_drain() {
    let documents = YamlLoader::load_from_str(&read("deploy/kubernetes.yaml")).expect("YAML");
    let deployment = &find(&documents, "Deployment")["spec"];
    assert_eq!(deployment["replicas"].as_i64(), Some(1), "two do not share their messages");
    assert_eq!(deployment["strategy"]["type"].as_str(), Some("Recreate"), "nor while one follows the other");
    let service = &find(&documents, "Service")["spec"];
    let labels = deployment["selector"]["matchLabels"].as_hash().expect("labels");
    assert_eq!(service["selector"].as_hash(), Some(labels));
    assert_eq!(service["ports"][0]["targetPort"].as_str(), Some("relay"), "a port of the pod, by name");
    let pod = &find(&documents, "Deployment")["spec"]["template"]["spec"];
    let relay = &pod["initContainers"][0];
    assert_eq!(relay["restartPolicy"].as_str(), Some("Always"), "a sidecar");
    for (probe, path) in [("startupProbe", "/ready"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        assert_eq!(relay[probe]["httpGet"]["path"].as_str(), Some(path), "{probe}");
        assert_eq!(relay[probe]["httpGet"]["port"], relay["ports"][0]["name"], "{probe}");
    }
    let security = &relay["securityContext"];
    for (key, value) in [("runAsNonRoot", true), ("readOnlyRootFilesystem", true), ("allowPrivilegeEscalation", false)]
    {
        assert_eq!(security[key].as_bool(), Some(value), "{key}");
    }
    assert_eq!(security["capabilities"]["drop"][0].as_str(), Some("ALL"));
    assert_eq!(security["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    for mount in relay["volumeMounts"].as_vec().expect("mounts") {
        assert_eq!(mount["readOnly"].as_bool(), Some(true), "{mount:?}");
        assert!(mount["subPath"].is_badvalue(), "a file that is mounted alone never changes: {mount:?}");
    }

    let map = find(&documents, "ConfigMap")["data"].as_hash().expect("files");
    let mut files = Memory::default().with("/run/secrets/relay/service", "a-secret-of-some-length-for-this-test-alone");
    for (name, text) in map {
        files = files.with(name.as_str().expect("a name"), text.as_str().expect("a text"));
    }
    let loaded = load(&files, &SchemaCache::default(), Time::now());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let config = loaded.config.expect("a sound configuration");
    let sleep = relay["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().expect("seconds");
    let drain = i64::try_from(config.limits.drain.as_secs()).expect("seconds");
    let grace = pod["terminationGracePeriodSeconds"].as_i64().expect("seconds");
    assert!(grace > sleep + drain, "{grace} s are too few for {sleep} s and a drain of {drain} s");
    let memory = relay["resources"]["limits"]["memory"].as_str().expect("a limit");
    let mebibytes: u64 = memory.strip_suffix("Mi").and_then(|n| n.parse().ok()).expect("so many Mi");
    let worst = WorstCase::of(&config).total() >> 20;
    assert!(worst < mebibytes, "{worst} MiB at worst are more than {memory}");
}

/// An alert on a metric or a label that does not exist never fires. Another test compares that page with a scrape.
#[test]
fn alerts_are_on_metrics_that_there_are() {
    let documents = YamlLoader::load_from_str(&read("deploy/alerts.yml")).expect("YAML");
    let page = read("docs/operating.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `relay_")).collect();
    let rules = documents[0]["groups"][0]["rules"].as_vec().expect("rules");
    let mut seen = 0;
    for rule in rules {
        let text = |key: &str| rule["annotations"][key].as_str().unwrap_or_else(|| panic!("{key} of {rule:?}"));
        let (summary, description) = (text("summary"), text("description"));
        let (expression, said) = (rule["expr"].as_str().expect("an expression"), format!("{summary} {description}"));
        assert!(!description.is_empty() && rule["alert"].as_str().is_some(), "{rule:?}");
        // A draining server closes the listener on which it would be scraped.
        assert!(!expression.contains("relay_draining"), "nobody sees that `{expression}`");
        let words: Vec<&str> = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let metrics: Vec<&str> = words.iter().copied().filter(|word| word.starts_with("relay_")).collect();
        assert!(metrics.len() == 1 || metrics.len() == 2 || expression.starts_with("up{"), "{expression}");
        for metric in metrics {
            seen += 1;
            let metric = metric.trim_end_matches("_bucket");
            let row = rows.iter().find(|row| row.starts_with(&format!("| `{metric}` | ")));
            let row = row.unwrap_or_else(|| panic!("`{metric}` is no metric of docs/operating.md"));
            for label in labels(expression, &said) {
                assert!(row.contains(&format!("`{label}`")), "{expression}: `{metric}` has no label `{label}`");
            }
        }
    }
    assert!(seen >= 12, "only {seen} metrics");
}

/// The labels by which an expression groups and selects, and those that its text shows. `le` is left out, since every
/// histogram has it.
fn labels<'a>(expression: &'a str, text: &'a str) -> Vec<&'a str> {
    let grouped = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    let grouped = grouped.flat_map(|list| list.split(", ")).filter(|label| *label != "le");
    let selected = expression.split('{').skip(1).filter_map(|rest| rest.split('=').next());
    let shown = text.split("$labels.").skip(1).filter_map(|rest| rest.split(' ').next());
    grouped.chain(selected).chain(shown).collect()
}

#[test]
fn what_deny_toml_forbids_is_not_there() {
    let deny: toml::Table = read("deny.toml").parse().expect("TOML");
    let lock: toml::Table = read("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("packages");
    assert!(packages.len() > 100, "{}", packages.len());
    for banned in deny["bans"]["deny"].as_array().expect("bans") {
        let name = &banned["crate"];
        if banned.get("wrappers").is_none() {
            assert!(packages.iter().all(|package| &package["name"] != name), "{name}");
        }
    }
    let registry = deny["sources"]["allow-registry"][0].as_str().expect("a registry");
    let foreign = packages.iter().filter_map(|package| package.get("source").and_then(toml::Value::as_str));
    for source in foreign {
        assert_eq!(source, format!("registry+{registry}"));
    }
}

/// The text of all test files below a directory.
fn tests(directory: &Path) -> String {
    let paths = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let texts = paths.map(|path| match path.display().to_string() {
        _ if path.is_dir() => tests(&path),
        name if name.contains("test") && name.ends_with(".rs") => read(&name),
        _ => String::new(),
    });
    texts.collect()
}

#[test]
fn every_limit_is_in_the_document_with_its_default_and_is_named_in_a_test() {
    let text = read("docs/hardening.md");
    let tests = tests(Path::new("tests/it")) + &tests(Path::new("src"));
    let mut seen = 0;
    for key in relay::config::keys::KEYS.iter().filter(|key| key.table == "limits") {
        seen += 1;
        let start = format!("| `{}` | ", key.name);
        let row = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Absent::Value(default) | Absent::Words(default)) = key.default else { panic!("{start} has no default") };
        assert!(cells.len() == 3 && cells[1] == default && !cells[2].is_empty(), "{row}");
        let names = [format!("limits.{}", key.name), format!("{} = \\\"", key.name)];
        // `limits.body` must not match `limits.body_timeout`.
        let named = |set: &String| tests.match_indices(set).any(|(at, _)| !tests[at + set.len()..].starts_with('_'));
        assert!(names.iter().any(named), "no test names `limits.{}`", key.name);
    }
    assert!(seen > 30, "{seen}");
}

/// Limits that no key sets: the source file, the constant in it, and what the document says.
const FIXED: &[(&str, &str, &str)] = &[
    ("src/connections.rs", "OVER: usize = 64;", "64 connections over `connections`"),
    ("src/server.rs", "ADMIN_CONNECTIONS: usize = 64;", "64 to the admin listener"),
    ("src/server.rs", "READ_BUFFER: usize = 64 << 10;", "64 KiB for the read buffer of a request"),
    ("src/server/http_socket.rs", "LINGER: Duration = Duration::from_secs(1);", "1 s or 8 MiB of a refused request"),
    ("src/server/http_socket.rs", "MOST: usize = 8 << 20;", "1 s or 8 MiB of a refused request"),
    ("src/ws/command.rs", "MAX_MALFORMED: u8 = 10;", "10 malformed commands"),
    ("src/ws/pump.rs", "CLOSE_WAIT: Duration = Duration::from_secs(5);", "5 s for a close to be answered"),
    ("src/schema/mod.rs", "MAX_VIOLATIONS: usize = 16;", "16 violations reported for one payload"),
    ("src/http/history.rs", "MAX_GAPS: usize = 1_000;", "1,000 gaps reported one by one"),
    ("src/rates.rs", "MAX_KEYS: usize = 65_536;", "65,536 callers told apart within one second"),
];

#[test]
fn fixed_limits_are_in_the_document_as_they_are_in_the_sources() {
    let text = read("docs/hardening.md");
    for (source, constant, said) in FIXED {
        assert!(read(source).contains(constant), "{source} has another `{constant}`: mend it here and in the document");
        assert!(text.contains(said), "the document does not say `{said}`");
    }
}
