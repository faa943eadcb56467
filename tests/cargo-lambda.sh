# To be sourced in the root: puts cargo-lambda on the path, installed into target/ if it is not there.
tools=$PWD/target/release-tools
if [ ! -x "$tools/bin/cargo-lambda" ]; then
  python3 -m venv --clear "$tools"
  "$tools/bin/python" -m pip install --quiet cargo-lambda==1.9.2
fi
PATH=$tools/bin:$PATH
