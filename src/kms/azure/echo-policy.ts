import { ConfigurationError, KeyUnwrapError } from '../../errors';

interface Request {
  readonly url: string;
}

interface Response {
  readonly status: number;
  readonly bodyAsText?: string | null;
}

/** A step of the SDK's pipeline. */
export interface EchoPolicy {
  readonly name: string;
  sendRequest<R extends Request, S extends Response>(
    request: R,
    next: (request: R) => Promise<S>,
  ): Promise<S>;
}

/**
 * Compares the id of the key that answered with the one in the request. The SDK does not hand it out:
 * what it calls `keyID` is what it was given itself.
 */
export const echoPolicy: EchoPolicy = {
  name: 'fieldEncryptionEchoPolicy',
  async sendRequest(request, next) {
    const response = await next(request);
    const [, path, operation] =
      /^(.*)\/(wrapkey|unwrapkey|sign)$/.exec(new URL(request.url).pathname) ?? [];
    if (operation === undefined || response.status !== 200) return response;
    if (echoedPath(response.bodyAsText) === path) return response;
    throw operation === 'unwrapkey'
      ? new KeyUnwrapError('azureKms: another key answered than the one that was asked.')
      : new ConfigurationError(
          `azureKms: another key than ${operation === 'sign' ? 'the one to sign' : 'keyId'} answered. Check keyId.`,
        );
  },
};

function echoedPath(body: string | null | undefined): string | undefined {
  try {
    const answer: unknown = JSON.parse(body ?? '');
    const kid: unknown =
      typeof answer === 'object' && answer !== null && 'kid' in answer ? answer.kid : undefined;
    return typeof kid === 'string' ? new URL(kid).pathname : undefined;
  } catch {
    return undefined;
  }
}
