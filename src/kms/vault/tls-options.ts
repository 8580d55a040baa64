import { readFile } from 'node:fs/promises';

import { ConfigurationError } from '../../errors';

/** PEM text, or a file with it. */
export type Pem =
  { readonly pem: string | Buffer } | { readonly file: string; readonly of: string };

/** The certificates for connections to Vault. */
export class TlsOptions {
  readonly #ca: Pem | undefined;
  readonly #cert: Pem | undefined;
  readonly #key: Pem | undefined;

  /**
   * @param ca - certificate authorities to trust instead of the system's
   * @param client - certificate of this client, with its key
   */
  constructor(ca: Pem | undefined, client?: { readonly cert: Pem; readonly key: Pem }) {
    this.#ca = ca;
    this.#cert = client?.cert;
    this.#key = client?.key;
  }

  /** Reads them for a new connection. @throws {@link ConfigurationError} for a file that cannot be read */
  async read(): Promise<{ ca?: string | Buffer; cert?: string | Buffer; key?: string | Buffer }> {
    const [ca, cert, key] = await Promise.all([this.#ca, this.#cert, this.#key].map(contentOf));
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    };
  }
}

async function contentOf(pem: Pem | undefined): Promise<string | Buffer | undefined> {
  if (pem === undefined || 'pem' in pem) return pem?.pem;
  try {
    return await readFile(pem.file);
  } catch (error) {
    throw new ConfigurationError(
      `vaultKms: the file that ${pem.of} names, ${pem.file}, cannot be read; see the cause.`,
      { cause: error },
    );
  }
}
