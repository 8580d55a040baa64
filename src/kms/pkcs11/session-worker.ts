import { parentPort, workerData } from 'node:worker_threads';

import { wipe } from '../../crypto/secret-bytes';

import { loadCryptoki } from './cryptoki';
import { toFailure } from './protocol';
import type { Reply, TokenRequest } from './protocol';
import type { TokenSettings } from './token';
import { TokenClient } from './token-client';

/** The worker of a `WorkerSessionThread`. */
const settings = workerData as TokenSettings;
const client = new TokenClient(settings, () => loadCryptoki(settings.library));

parentPort?.on('message', (request: TokenRequest) => {
  parentPort?.postMessage(reply(request));
});

function reply(request: TokenRequest): Reply {
  try {
    return { ok: true, answer: client.run(request) };
  } catch (error) {
    return { ok: false, failure: toFailure(error) };
  } finally {
    if (request.kind === 'wrap') wipe(request.key);
  }
}
