import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { ConfigurationError } from '../../../../src/errors';
import { vaultKms } from '../../../../src/kms/vault';
import { RemoteCalls } from '../../../../src/kms/remote/remote-calls';
import { TlsOptions } from '../../../../src/kms/vault/tls-options';
import { VaultClient } from '../../../../src/kms/vault/vault-client';
import { rejection, shown } from '../../../support/remote-kms';

const GOOD = { address: 'https://vault.example.org:8200', token: 'canary-token', key: 'clinic' };

describe('vaultKms', () => {
  it.each<[string, object]>([
    ['there is no option keys', { keys: 'clinic' }],
    ['key must be', { key: '' }],
    ['key must be', { key: 'a/b' }],
    ['key must be', { key: '..' }],
    ['mount must be', { mount: '' }],
    ['mount must be', { mount: 'a/../b' }],
    ['mount must be', { mount: '/transit' }],
    ['namespace must be', { namespace: 'a b' }],
    ['address must be a URL', { address: 'vault' }],
    ['address must be a URL', { address: 'file:///vault' }],
    ['address must be without user', { address: 'https://a:canary@vault' }],
    ['address must begin with https:', { address: 'http://vault.example.org:8200' }],
    ['insecureHttp must be', { insecureHttp: 'yes' }],
    ['ca must be', { ca: 5 }],
    ['timeoutMs must be', { timeoutMs: 5 }],
    ['timeoutMs must not be above', { timeoutMs: 20_000, totalTimeoutMs: 10_000 }],
    ['there is neither token nor auth', { token: '' }],
    ['want one of token and auth', { auth: { method: 'approle', roleId: 'a', secretId: 'b' } }],
    ['auth.method must be', { token: undefined, auth: { method: 'ldap' } }],
    ['auth.method must be', { token: undefined, auth: { method: 'toString' } }],
    ['auth.secretId is missing', { token: undefined, auth: { method: 'approle', roleId: 'a' } }],
    ['there is no option auth.user', { token: undefined, auth: { method: 'userpass', user: 'a' } }],
    [
      'auth.mount must be',
      { token: undefined, auth: { method: 'kubernetes', role: 'a', mount: '/' } },
    ],
  ])('refuses options by name: %s', (message, options) => {
    const make = () => vaultKms({ ...GOOD, ...options });
    expect(make).toThrow(ConfigurationError);
    expect(make).toThrow(message);
    try {
      make();
    } catch (error) {
      expect(shown(error)).not.toContain('canary');
    }
  });

  it.each([undefined, null, 5, 'address'])('refuses %p in the place of options', (options) => {
    expect(() => vaultKms(options as never)).toThrow(ConfigurationError);
  });

  it.each(['http://localhost:8200', 'http://127.0.0.1:8200', 'http://[::1]:8200/'])(
    'allows %s, which stays on this machine',
    (address) => {
      expect(vaultKms({ ...GOOD, address }).name).toBe('vault');
    },
  );

  it('says what to install where node-vault is not', async () => {
    const client = new VaultClient(
      { address: GOOD.address, namespace: undefined, tls: new TlsOptions(undefined) },
      () => {
        throw new Error('Cannot find module');
      },
    );
    const calls = new RemoteCalls('vaultKms', { timeoutMs: 1000, totalTimeoutMs: 1000 });
    const error = await rejection(
      calls.run(async (signal) => client.read('sys/health', { token: undefined, signal })),
    );
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('npm install node-vault');
  });

  it('prints no request, also where DEBUG asks node-vault to', () => {
    const program = `
      const { vaultKms } = require('./src/kms/vault');
      const kms = vaultKms({ address: 'http://127.0.0.1:1', auth: { method: 'userpass', username: 'a', password: 'canary' }, key: 'clinic', timeoutMs: 100, totalTimeoutMs: 100 });
      kms.wrapKey(Buffer.alloc(32), { application: 'a', keyId: 'b', keyName: 'c', purpose: 'data' }).catch((error) => console.log(error.code));
    `;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--require', 'tsx/cjs', '-e', program],
      {
        cwd: join(__dirname, '..', '..', '..', '..'),
        env: { ...process.env, DEBUG: '*' },
        encoding: 'utf8',
      },
    );
    expect(stdout).toBe('ERR_KMS_UNAVAILABLE\n');
    expect(stderr).not.toContain('canary');
  });
});
