import { inspect } from 'node:util';

import { ConfigurationError, DecryptionError, KmsUnavailableError } from '../../../src';
import type { RemotePreviousFormat, VaultTransitFormatOptions } from '../../../src/import';
import { vaultTransitFormat } from '../../../src/import';
import { rejection } from '../../support/remote-kms';
import { ROOT_TOKEN, VaultDouble } from '../../support/vault-double';

const CONTEXT = Buffer.from('every row').toString('base64');

describe('vaultTransitFormat', () => {
  const double = new VaultDouble();
  const formats: RemotePreviousFormat[] = [];

  const open = (options: Partial<VaultTransitFormatOptions> = {}): RemotePreviousFormat => {
    const address = double.address;
    const format = vaultTransitFormat({ address, token: ROOT_TOKEN, key: 'app', ...options });
    formats.push(format);
    return format;
  };

  /** As an application would have: by Transit itself. */
  async function encrypt(text: string, body: object = {}, key = 'app'): Promise<string> {
    const plaintext = Buffer.from(text).toString('base64');
    const reply = await fetch(`${double.address}/v1/transit/encrypt/${key}`, {
      method: 'POST',
      headers: { 'X-Vault-Token': ROOT_TOKEN },
      body: JSON.stringify({ plaintext, ...body }),
    });
    const { data } = (await reply.json()) as { data: { ciphertext: string } };
    return data.ciphertext;
  }

  const texts = async (format: RemotePreviousFormat, stored: readonly string[]) =>
    (await format.decryptAll(stored)).map((value) =>
      value instanceof Error ? value : Buffer.from(value).toString('utf8'),
    );

  beforeAll(() => double.http.start());
  beforeEach(() => {
    double.makeKey('app');
    double.http.calls.length = 0;
  });
  afterEach(async () => {
    double.http.mend();
    double.sealed = false;
    for (const format of formats.splice(0)) await format.close?.();
  });
  afterAll(() => double.http.stop());

  it('reads every version, in requests of 256 values', async () => {
    const stored: string[] = [];
    for (let i = 0; i < 300; i++) {
      if (i % 100 === 99) double.rotate('app');
      stored.push(await encrypt(i === 5 ? '' : `value ${i}`));
    }
    const format = open();
    expect(stored.every((each) => format.recognises(each))).toBe(true);

    const read = await texts(format, stored);
    expect(read).toEqual(stored.map((_, i) => (i === 5 ? '' : `value ${i}`)));
    const sizes = double.http
      .callsTo('/decrypt/app')
      .map(({ body }) => (JSON.parse(body) as { batch_input: unknown[] }).batch_input.length);
    expect(sizes).toEqual([256, 44]);
  });

  it('reads values longer than any answer to a request for a key', async () => {
    const long = 'x'.repeat(900_000);
    const stored = [await encrypt(long), await encrypt('short'), await encrypt(long)];
    expect(await texts(open(), stored)).toEqual([long, 'short', long]);
    expect(double.http.callsTo('/decrypt/app')).toHaveLength(3);
  });

  it.each([
    ['a derived key, context as base64', { context: CONTEXT }, { context: CONTEXT }],
    [
      'a derived key, context as bytes',
      { context: Buffer.from(CONTEXT, 'base64') },
      { context: CONTEXT },
    ],
    [
      'associated data',
      { context: CONTEXT, associatedData: Buffer.from('bound') },
      { context: CONTEXT, associated_data: Buffer.from('bound').toString('base64') },
    ],
  ])('reads with %s, and with no other', async (_, options, body) => {
    double.makeKey('derived', { derived: true });
    const stored = await encrypt('Ada', body, 'derived');
    expect(await texts(open({ key: 'derived', ...options }), [stored])).toEqual(['Ada']);
    const wrong = open({ key: 'derived', ...options, context: Buffer.from('another') });
    const [error] = await texts(wrong, [stored]);
    expect(error).toBeInstanceOf(DecryptionError);
  });

  it('tells a changed value apart from good ones', async () => {
    const stored = [await encrypt('one'), await encrypt('two'), await encrypt('three')];
    const bytes = Buffer.from(stored[1]!.slice('vault:v1:'.length), 'base64');
    bytes[20]! ^= 1;
    stored[1] = `vault:v1:${bytes.toString('base64')}`;
    const format = open();
    expect(format.recognises(stored[1])).toBe(true);

    const [one, two, three] = await texts(format, stored);
    expect([one, three]).toEqual(['one', 'three']);
    expect(two).toBeInstanceOf(DecryptionError);
    expect(inspect(two, { depth: 5 })).not.toContain(bytes.toString('base64'));
    expect((await texts(format, [stored[1]]))[0]).toBeInstanceOf(DecryptionError);
  });

  it('reports what is wrong with the server, the token or the key, for all at once', async () => {
    const stored = [await encrypt('one')];
    const denied = await rejection(open({ token: 'canary-token' }).decryptAll(stored));
    expect(denied).toBeInstanceOf(ConfigurationError);
    expect(denied.message).toMatch(/permission denied for transit\/keys\/app/);
    expect(inspect(denied, { depth: 5 })).not.toMatch(/canary/);

    const absent = await rejection(open({ key: 'absent' }).decryptAll(stored));
    expect(absent).toBeInstanceOf(ConfigurationError);

    double.sealed = true;
    const sealed = await rejection(
      open({ totalTimeoutMs: 500, timeoutMs: 500 }).decryptAll(stored),
    );
    expect(sealed).toBeInstanceOf(KmsUnavailableError);
    expect(sealed.message).toMatch(/^vaultTransitFormat: /);
  });

  it('takes no answer with fewer results than values', async () => {
    const stored = [await encrypt('one'), await encrypt('two')];
    const body = { data: { batch_results: [{ plaintext: 'b25l' }] } };
    double.http.fail({ on: '/decrypt/', status: 200, body });
    expect(await rejection(open().decryptAll(stored))).toBeInstanceOf(ConfigurationError);
  });

  it.each([
    '',
    'vault:',
    'vault:v0:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGk=',
    'vault:v1:QUJD',
    'vault:v1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGk',
    'vault:v1:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGk=\n',
    'QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGk=',
  ])('does not recognise %j', (stored) => {
    expect(open().recognises(stored)).toBe(false);
  });

  it('refuses options that cannot work', () => {
    expect(() => open({ context: 'not base64' })).toThrow(/context must be/);
    expect(() => open({ associatedData: '' })).toThrow(/associatedData must be/);
    expect(() => open({ key: '' })).toThrow(ConfigurationError);
    const shown = inspect(open(), { depth: 9, showHidden: true }) + JSON.stringify(open());
    expect(shown).not.toContain(ROOT_TOKEN);
  });
});
