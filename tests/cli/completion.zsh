# usage: zsh -f completion.zsh DIR LINE
# Prints what an interactive zsh with the completion of DIR makes of LINE and a tab.
zmodload zsh/zpty || exit 1
export TERM=dumb
zpty shell zsh -f -i || exit 1
zpty -w shell "bindkey -e; unsetopt prompt_sp zle_bracketed_paste; PROMPT=; fpath=(${(q)1} \$fpath)"
zpty -w shell "autoload -Uz compinit; compinit -u -D; print RE''ADY"
local got
zpty -r -m shell got '*READY*' || exit 1
# After the tab: to the front of the line, what prints it put there, quotes around it.
zpty -w -n shell "$2"$'\t\x01print -r -- GO\'\'T:"\x05":E\'\'ND\n'
zpty -r -m shell got '*GOT:*:END*' || exit 1
print -r -- ${${got##*GOT:}%%:END*}
zpty -d shell
