import { KmsUnavailableError } from '../../../../src/errors';
import type { SessionThread } from '../../../../src/kms/pkcs11/session-thread';
import { SessionPool } from '../../../../src/kms/pkcs11/session-pool';
import type { RequestOf, TokenAnswer, TokenRequest } from '../../../../src/kms/pkcs11/protocol';
import { rejection } from '../../../support/pkcs11-suite';

const HEALTH: RequestOf<'health'> = { kind: 'health' };

/** A thread that answers when it is told to. */
class ManualThread implements SessionThread {
  ended = false;
  stopped = false;
  readonly requests: TokenRequest['kind'][] = [];
  readonly #waiting: ((answer: TokenAnswer) => void)[] = [];

  run(request: TokenRequest): Promise<TokenAnswer> {
    this.requests.push(request.kind);
    if (request.kind === 'close') return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async answer(): Promise<void> {
    this.#waiting.shift()?.({ ok: true });
    await new Promise(setImmediate);
  }

  stop(): Promise<void> {
    this.stopped = true;
    return Promise.resolve();
  }
}

describe('SessionPool', () => {
  let threads: ManualThread[];

  beforeEach(() => {
    threads = [];
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  function pool(limits: { threads?: number; waiting?: number } = {}): SessionPool {
    const start = (): SessionThread => {
      const thread = new ManualThread();
      threads.push(thread);
      return thread;
    };
    return new SessionPool(start, { threads: 2, waiting: 3, timeoutMs: 1000, ...limits });
  }

  const run = (of: SessionPool) => of.run<'health'>(HEALTH);

  it('starts threads as they are needed, up to the limit, and shares the work out', async () => {
    const subject = pool();
    const first = run(subject);
    expect(threads).toHaveLength(1);
    await threads[0]?.answer();
    await first;

    const answers = [1, 2, 3, 4].map(() => run(subject));
    expect(threads.map(({ requests }) => requests.length)).toEqual([3, 2]);
    for (const thread of [0, 1, 0, 1]) await threads[thread]?.answer();
    await expect(Promise.all(answers)).resolves.toHaveLength(4);
    expect(threads).toHaveLength(2);
  });

  it('refuses what waits behind too many others', async () => {
    const subject = pool({ threads: 1 });
    for (let i = 0; i < 7; i++) run(subject).catch(() => undefined);

    const error = await rejection(run(subject));

    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('3 requests wait');
  });

  it('gives up on a silent token, and asks it no more until it answers', async () => {
    const subject = pool({ threads: 1 });
    const running = run(subject);
    const queued = run(subject);
    const errors = Promise.all([rejection(running), rejection(queued)]);
    jest.advanceTimersByTime(1000);
    for (const error of await errors) {
      expect(error).toBeInstanceOf(KmsUnavailableError);
      expect(error.message).toContain('within 1000 ms');
    }

    expect(await rejection(run(subject))).toBeInstanceOf(KmsUnavailableError);
    expect(threads[0]?.requests).toEqual(['health', 'health']);

    await threads[0]?.answer();
    await threads[0]?.answer();
    const later = run(subject);
    await threads[0]?.answer();
    await expect(later).resolves.toEqual({ ok: true });
  });

  it('replaces a thread whose thread has ended', async () => {
    const subject = pool({ threads: 1 });
    const first = run(subject);
    if (threads[0] !== undefined) threads[0].ended = true;
    await threads[0]?.answer();
    await first;

    run(subject).catch(() => undefined);

    expect(threads).toHaveLength(2);
  });

  it('lets what runs end before it closes, and starts anew afterwards', async () => {
    const subject = pool({ threads: 1 });
    const running = [1, 2, 3, 4].map(() => run(subject));
    const queued = rejection(run(subject));
    const closing = subject.close();
    expect(await queued).toBeInstanceOf(KmsUnavailableError);
    expect(threads[0]?.stopped).toBe(false);

    for (let i = 0; i < 4; i++) await threads[0]?.answer();
    await expect(Promise.all(running)).resolves.toHaveLength(4);
    await closing;

    expect(threads[0]).toMatchObject({ stopped: true });
    expect(threads[0]?.requests).toEqual(['health', 'health', 'health', 'health', 'close']);
    run(subject).catch(() => undefined);
    expect(threads).toHaveLength(2);
  });

  it('closes without waiting for a token that is silent', async () => {
    const subject = pool({ threads: 1 });
    const running = rejection(run(subject));
    jest.advanceTimersByTime(1000);
    await running;

    await expect(subject.close()).resolves.toBeUndefined();
    expect(threads[0]?.stopped).toBe(false);
  });
});
