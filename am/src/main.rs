//! `yarn-ml-am`: the application master with the state machines that come with it.

fn main() {
    std::process::exit(yarn_ml_am::main(None));
}
