# Sourced by scripts that type what the README says, in the folder that it is in: `typed CHAPTER` prints the commands of a
# chapter, one a line, without the remarks behind them.

typed() {
    sed -n "/^## $1\$/,/^## /s/^    \([^<]\)/\1/p" README.md | sed 's/  #.*//; s/ *$//'
}
