//! The command line: what was typed, who does it, which exit code it ends with.
//!
//! Invariants: data goes to standard output, messages to standard error; the exit code is 0 for done, 1 for
//! failed, 2 for wrongly called, 3 for a comparison that found a difference; nothing here decides anything about a request.

mod against;
mod cells;
mod channels;
mod explain;
mod history;
mod import;
mod logs;
mod lookup;
mod offline;
mod online;
mod pages;
mod rollback;
mod rows;
mod status;
mod terminal;
mod top;
mod usage;

use crate::app;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// An edge gateway for AI APIs: one address and one key in front of many providers.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Check the configuration and exit, as in nginx; the same as `check`.
    #[arg(short = 't')]
    test: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Clone, Args)]
struct ConfigArg {
    /// The configuration file [default: conf/tollgate.toml].
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    file: Option<PathBuf>,
}

impl ConfigArg {
    fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }
}

/// Where a running gateway's admin listener is.
#[derive(Debug, Clone, Args)]
struct AdminArg {
    /// The admin listener of a running gateway, such as <http://127.0.0.1:9090>.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gateway and fake provider on loopback: talks to itself once, then stays up for you to try.
    Demo {
        /// Exit after the two exchanges.
        #[arg(long)]
        once: bool,
        /// The address to serve on; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// The admin address; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:9090")]
        admin: SocketAddr,
    },
    /// Run the gateway.
    Run {
        /// Take over from the process that runs this configuration: waits for its listeners, which it hands over when it
        /// is sent QUIT.
        #[arg(long)]
        upgrade: bool,
    },
    /// Check the configuration: every problem at once, with file, line and what to do.
    #[command(visible_alias = "validate")]
    Check {
        /// Print what was understood, secrets masked.
        #[arg(long)]
        dump: bool,
        /// Compare with what the running gateway has in force: exit code 0 where it is the same, 3 where it is not.
        #[arg(long, conflicts_with = "dump")]
        against_running: bool,
        /// The admin listener of the gateway to compare with [default: where the configuration has it].
        #[arg(long, value_name = "URL", requires = "against_running")]
        admin: Option<String>,
        /// How a comparison is printed.
        #[arg(long, value_enum, default_value = "text", requires = "against_running")]
        format: Format,
    },
    /// Make a running gateway read its configuration again, and say what that changes.
    Reload {
        #[command(flatten)]
        admin: AdminArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// The configurations that were in force, what they have otherwise than one another, and the way back.
    #[command(subcommand)]
    Config(history::ConfigCommand),
    /// Make a running gateway drain and leave, as TERM does.
    Drain(AdminArg),
    /// What a running gateway says of itself.
    Status {
        #[command(flatten)]
        admin: AdminArg,
        /// Only say whether it is ready, by the exit code (for health checks).
        #[arg(long)]
        ready: bool,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Keys for your users.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The channels, and whether they answer.
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Which models each key can use.
    Models {
        /// Only this key.
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        admin: AdminArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Which channel a request would take and why; nothing is sent.
    Explain(ExplainArgs),
    /// What happened to one exchange, and whether anybody was charged for it.
    Lookup {
        /// The id in the error message, in `x-request-id` or in the access log.
        #[arg(value_name = "REQUEST_ID")]
        id: String,
        #[command(flatten)]
        admin: AdminArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// What was used and what it cost, from the ledger.
    Usage(UsageArgs),
    /// What a running gateway does now, again and again: `q` leaves.
    Top(top::TopArgs),
    /// The exchanges as they come.
    #[command(subcommand)]
    Logs(logs::LogsCommand),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Turn another gateway's configuration into ours, and list what has no equivalent.
    Import(ImportArgs),
    /// The fake provider alone: OpenAI, Anthropic and Gemini in shape, nothing behind them.
    Mock {
        /// The address to serve on; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:9100")]
        listen: SocketAddr,
        /// Time between the events of a stream, such as 20ms.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
        pace: Duration,
    },
    /// Print completions for a shell, to be put where it looks for them.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page: of the program, or of one of its commands.
    Man {
        /// A command, such as `run`.
        command: Option<String>,
    },
    /// Print the version.
    Version {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum ChannelsCommand {
    /// List the configured channels, without their secrets.
    List {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Ask a channel something small with each of its credentials, and say what is wrong where it does not answer.
    Test {
        /// The channel's name.
        #[arg(value_name = "NAME", required_unless_present = "all")]
        name: Option<String>,
        /// Every enabled channel.
        #[arg(long, conflicts_with = "name")]
        all: bool,
        /// The model to ask, by its name here [default: the first that the channel names; of patterns alone the list
        /// of models is asked for].
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
        /// An answer that begins later is reported as slow.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "10s")]
        slow: Duration,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a new key: shown once, with the lines to put into the configuration.
    New {
        /// Its name in the configuration.
        #[arg(long, default_value = "new-key")]
        name: String,
        /// Its group.
        #[arg(long)]
        group: Option<String>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print the hash of a key read from standard input, for `hash = "…"`.
    Hash,
    /// List the configured keys, without their secrets.
    List {
        #[command(flatten)]
        admin: AdminArg,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The key's name.
    #[arg(long, value_name = "NAME")]
    key: String,
    /// The model as the client asks for it; with --request it may be left to the body.
    #[arg(long, value_name = "MODEL", required_unless_present = "request")]
    model: Option<String>,
    /// A request body (JSON): also shows the bytes as the channel would get them.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The path the request is for.
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    #[command(flatten)]
    admin: AdminArg,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
struct UsageArgs {
    /// What the rows are.
    #[arg(long, value_enum, default_value = "key")]
    by: UsageBy,
    /// From when on: a date (2026-01-31), a time in UTC (2026-01-31T15:00:00Z) or how long ago (24h, 7d), cut down to
    /// the hour [default: the beginning of the month].
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until when, in the same words; that hour is not in it [default: now].
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[arg(long, value_enum, default_value = "table")]
    format: UsageFormat,
    #[command(flatten)]
    admin: AdminArg,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// Whose it is: litellm (config.yaml), one-api (rows of one-api's or New API's tables as JSON), axonhub (a backup).
    #[arg(value_enum, value_name = "ORIGIN")]
    origin: ImportOrigin,
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the configuration is written, readable by its owner alone; a file that is there stays
    /// [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How what has no equivalent is listed, on standard error; json: everything as one object on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ImportOrigin {
    #[value(name = "litellm")]
    LiteLlm,
    #[value(name = "one-api", alias = "new-api")]
    OneApi,
    #[value(name = "axonhub")]
    AxonHub,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UsageBy {
    Key,
    Owner,
    Group,
    Project,
    Model,
    Channel,
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UsageFormat {
    Table,
    Json,
    Csv,
}

/// Why a command failed, for standard error.
type Failed = String;

/// Does what was typed.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    app::secrecy::no_core_dumps();
    let config = cli.config.path();
    let explicit = cli.config.file.as_deref();
    let done = match cli.command {
        None if cli.test => offline::check(&config, false),
        None => {
            complain("give a command, or -t to check the configuration; see --help");
            return ExitCode::from(2);
        }
        Some(Command::Demo { once, listen, admin }) => app::demo::demo(once, listen, admin),
        Some(Command::Run { upgrade }) => app::run::run(&config, upgrade),
        Some(Command::Check { against_running: true, admin, format, .. }) => {
            let admin = online::Admin::find(admin.as_deref(), explicit);
            let compared = admin.and_then(|admin| against::check(&config, &admin, format == Format::Json));
            return compared.unwrap_or_else(|why| {
                complain(&why);
                ExitCode::FAILURE
            });
        }
        Some(Command::Check { dump, .. }) => offline::check(&config, dump),
        Some(Command::Reload { admin, format }) => {
            online::reload(admin.admin.as_deref(), explicit, format == Format::Json)
        }
        Some(Command::Config(command)) => history::config(&command, explicit, &config),
        Some(Command::Drain(admin)) => online::drain(admin.admin.as_deref(), explicit),
        Some(Command::Status { admin, ready, format }) => {
            status::status(admin.admin.as_deref(), explicit, ready, format == Format::Json)
        }
        Some(Command::Keys(command)) => keys(command, &config),
        Some(Command::Channels(ChannelsCommand::List { format })) => {
            channels::list(&config, format == Format::Json)
        }
        Some(Command::Channels(ChannelsCommand::Test { name, all: _, model, slow, format })) => {
            let (name, model, as_json) = (name.as_deref(), model.as_deref(), format == Format::Json);
            channels::test(&config, &channels::Wanted { name, model, slow, as_json })
        }
        Some(Command::Models { key, admin, format }) => match admin.admin {
            Some(url) => online::models(&url, key.as_deref(), format == Format::Json),
            None => offline::models(&config, key.as_deref(), format == Format::Json),
        },
        Some(Command::Explain(args)) => explain::explain(&config, &args),
        Some(Command::Lookup { id, admin, format }) => {
            lookup::lookup(&id, (admin.admin.as_deref(), explicit), format == Format::Json)
        }
        Some(Command::Usage(args)) => usage::usage(&args, explicit),
        Some(Command::Top(args)) => top::top(&args, explicit),
        Some(Command::Logs(command)) => logs::logs(&command, explicit),
        Some(Command::Import(args)) => import::import(&args),
        Some(Command::Schema) => print(&crate::config::schema()),
        Some(Command::Mock { listen, pace }) => app::demo::mock(listen, pace),
        Some(Command::Completions { shell }) => pages::completions(shell),
        Some(Command::Man { command }) => pages::manual(command.as_deref()),
        Some(Command::Version { format }) => offline::version(format == Format::Json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn keys(command: KeysCommand, config: &Path) -> Result<(), Failed> {
    match command {
        KeysCommand::New { name, group, format } => {
            offline::new_key(&name, group.as_deref(), format == Format::Json)
        }
        KeysCommand::Hash => offline::hash_key(),
        KeysCommand::List { admin, format } => match admin.admin {
            Some(url) => online::keys(&url, format == Format::Json),
            None => offline::list_keys(config, format == Format::Json),
        },
    }
}

/// Data, to standard output; a reader that closed the pipe had enough.
fn print(text: &str) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write: {error}")),
        _ => Ok(()),
    }
}

/// Messages, to standard error; where even that fails there is nobody to tell.
fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "tollgate: {text}"));
}

const DEFAULT_CONFIG: &str = "conf/tollgate.toml";
