# Source this in the root: it adds cargo-lambda to the path, and installs it into target/ if it is missing.
tools=$PWD/target/release-tools
if [ ! -x "$tools/bin/cargo-lambda" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/python" -m pip install --quiet cargo-lambda==1.9.2
fi
PATH=$tools/bin:$PATH
