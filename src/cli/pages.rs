//! What a package puts beside the program: completions for shells and manual pages, made of the same definitions that
//! read the command line, so that they cannot differ from it.

use super::{Cli, Failed, print};
use clap::CommandFactory as _;
use clap_complete::Shell;

pub(super) fn completions(shell: Shell) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(super) fn manual(command: Option<&str>) -> Result<(), Failed> {
    let mut program = Cli::command();
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name);
            found.ok_or_else(|| format!("there is no command {name}; see --help"))?.clone()
        }
    };
    let source = concat!("tollgate ", env!("CARGO_PKG_VERSION"));
    let mut text = Vec::new();
    let manual = clap_mangen::Man::new(page).source(source).manual("Tollgate");
    manual.render(&mut text).map_err(|error| format!("cannot make the page: {error}"))?;
    print(&String::from_utf8_lossy(&text))
}

const NAME: &str = "tollgate";
