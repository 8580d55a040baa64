import { openOutput } from '../../../src/cli/terminal/output';
import { table } from '../../../src/cli/terminal/table';

/** Clears a screen, sets a title, begins a sequence by C1, and reverses the direction of text. */
const HOSTILE = '\u001b[2J\u001b]0;owned\u0007\u009b31m\u202e\r';
const COMMANDS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;

/** What is written to stdout and stderr meanwhile. */
function written(work: () => void): string {
  const chunks: string[] = [];
  const keep = (chunk: unknown): boolean => chunks.push(String(chunk)) > 0;
  const spies = [process.stdout, process.stderr].map((stream) =>
    jest.spyOn(stream, 'write').mockImplementation(keep),
  );
  try {
    work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return chunks.join('');
}

describe.each([[false], [true]])('Output of the command line (--json: %p)', (json) => {
  it.each<[string, (output: ReturnType<typeof openOutput>) => void]>([
    ['a result', (output) => output.result({ document: { a: HOSTILE }, text: HOSTILE })],
    [
      'an error',
      (output) => {
        const report = { code: 'X', message: HOSTILE, remedy: HOSTILE, exitCode: 1 } as const;
        output.error(report, HOSTILE);
      },
    ],
    ['progress', (output) => output.progress(`${HOSTILE} is shown`)],
  ])('of %s shows what would drive the terminal', (_what, write) => {
    const text = written(() => {
      const output = openOutput(json);
      write(output);
      output.close();
    });
    expect(text).not.toMatch(COMMANDS);
    if (text !== '') expect(text).toContain('\\u001b[2J');
  });
});

describe('A table of the command line', () => {
  it('keeps a value on its line', () => {
    const text = table(['A', 'B'], [[`x\nNo data keys.${HOSTILE}`, 'y']]);
    expect(text.split('\n')).toHaveLength(2);
    expect(text).toContain('x\\u000aNo data keys.');
  });

  const row = ['default v1', 'active', 'x'.repeat(40), '', 'y'.repeat(30)];
  const head = ['KEY', 'STATE', 'ID', 'EMPTY', 'NOTE'];

  it('has a line for each row where they fit', () => {
    expect(table(head, [row.slice(0, 2)]).split('\n')).toEqual([
      'KEY         STATE   ID  EMPTY  NOTE',
      'default v1  active',
    ]);
  });

  it('keeps each row on one line where it is piped', () => {
    expect(table(head, [row, row]).split('\n')).toHaveLength(3);
  });

  it('fits 80 columns of a terminal, with the name of its column before each value', () => {
    const { isTTY } = process.stdout;
    process.stdout.isTTY = true;
    const lines = table(head, [row, row]).split('\n');
    process.stdout.isTTY = isTTY;
    expect(lines).toHaveLength(4);
    expect(lines[0]).toBe(`KEY: default v1  STATE: active  ID: ${'x'.repeat(40)}`);
    expect(lines[1]).toBe(`  NOTE: ${'y'.repeat(30)}`);
  });
});
