import { Argument } from 'commander';
import type { Command } from 'commander';

/** What can follow a command on the command line. */
interface Place {
  /** `/keys/rotate`; empty for the program itself. */
  readonly at: string;
  readonly words: readonly string[];
}

/** Makes a script from the paths of all commands, and what can follow each place. */
type Script = (commands: string, places: readonly Place[]) => string;

const SCRIPTS: Readonly<Record<'bash' | 'zsh' | 'fish', Script>> = {
  bash: (commands, places) => `_field_encryption() {
  local current=\${COMP_WORDS[COMP_CWORD]} at= word choices=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at/$word" in ${commands}) at="$at/$word" ;; esac
  done
  case "$at" in
${cases(places)}
  esac
  COMPREPLY=($(compgen -W "$choices" -- "$current"))
}
complete -o default -F _field_encryption field-encryption`,

  zsh: (commands, places) => `_field_encryption() {
  local at= word choices=
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at/$word" in (${commands}) at="$at/$word" ;; esac
  done
  case "$at" in
${cases(places)}
  esac
  compadd -- \${=choices} || _files
}
compdef _field_encryption field-encryption`,

  fish: (commands, places) => `function __field_encryption_at
  set -l at ''
  for word in (commandline -opc)[2..]
    switch "$at/$word"
      case ${commands.replaceAll('|', ' ')}
        set at "$at/$word"
    end
  end
  echo $at
end
${places.map(({ at, words }) => `complete -c field-encryption -n "test (__field_encryption_at) = '${at}'" -a '${words.join(' ')}'`).join('\n')}`,
};

function cases(places: readonly Place[]): string {
  return places.map(({ at, words }) => `    '${at}') choices='${words.join(' ')}' ;;`).join('\n');
}

/** Adds the command that prints a script for a shell, which completes commands and options. */
export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .action((shell: keyof typeof SCRIPTS) => {
      const places = placesOf(program);
      const commands = places.map(({ at }) => at).filter((at) => at !== '');
      process.stdout.write(`${SCRIPTS[shell](commands.join('|'), places)}\n`);
    });
}

function placesOf(command: Command, at = ''): Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command).filter((each) => each.name() !== 'help');
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
  const words = [
    ...commands.map((each) => each.name()),
    // An option of two long names has the first of them for the short one.
    ...options.flatMap(({ short, long }) =>
      [short ?? '', long ?? ''].filter((flag) => flag.startsWith('--')),
    ),
  ];
  return [{ at, words }, ...commands.flatMap((each) => placesOf(each, `${at}/${each.name()}`))];
}
