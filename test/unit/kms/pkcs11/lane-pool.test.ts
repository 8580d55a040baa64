import { KmsUnavailableError } from '../../../../src/errors';
import type { Lane } from '../../../../src/kms/pkcs11/lane';
import { LanePool } from '../../../../src/kms/pkcs11/lane-pool';
import type { RequestOf, TokenAnswer, TokenRequest } from '../../../../src/kms/pkcs11/protocol';
import { rejection } from '../../../support/pkcs11-suite';

const HEALTH: RequestOf<'health'> = { kind: 'health' };

/** A lane that answers when it is told to. */
class ManualLane implements Lane {
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

describe('LanePool', () => {
  let lanes: ManualLane[];

  beforeEach(() => {
    lanes = [];
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  function pool(limits: { lanes?: number; waiting?: number } = {}): LanePool {
    const start = (): Lane => {
      const lane = new ManualLane();
      lanes.push(lane);
      return lane;
    };
    return new LanePool(start, { lanes: 2, waiting: 3, timeoutMs: 1000, ...limits });
  }

  const run = (of: LanePool) => of.run<'health'>(HEALTH);

  it('starts lanes as they are needed, up to the limit, and shares the work out', async () => {
    const subject = pool();
    const first = run(subject);
    expect(lanes).toHaveLength(1);
    await lanes[0]?.answer();
    await first;

    const answers = [1, 2, 3, 4].map(() => run(subject));
    expect(lanes.map(({ requests }) => requests.length)).toEqual([3, 2]);
    for (const lane of [0, 1, 0, 1]) await lanes[lane]?.answer();
    await expect(Promise.all(answers)).resolves.toHaveLength(4);
    expect(lanes).toHaveLength(2);
  });

  it('refuses what waits behind too many others', async () => {
    const subject = pool({ lanes: 1 });
    for (let i = 0; i < 7; i++) run(subject).catch(() => undefined);

    const error = await rejection(run(subject));

    expect(error).toBeInstanceOf(KmsUnavailableError);
    expect(error.message).toContain('3 requests wait');
  });

  it('gives up on a silent token, and asks it no more until it answers', async () => {
    const subject = pool({ lanes: 1 });
    const running = run(subject);
    const queued = run(subject);
    const errors = Promise.all([rejection(running), rejection(queued)]);
    jest.advanceTimersByTime(1000);
    for (const error of await errors) {
      expect(error).toBeInstanceOf(KmsUnavailableError);
      expect(error.message).toContain('within 1000 ms');
    }

    expect(await rejection(run(subject))).toBeInstanceOf(KmsUnavailableError);
    expect(lanes[0]?.requests).toEqual(['health', 'health']);

    await lanes[0]?.answer();
    await lanes[0]?.answer();
    const later = run(subject);
    await lanes[0]?.answer();
    await expect(later).resolves.toEqual({ ok: true });
  });

  it('replaces a lane whose thread has ended', async () => {
    const subject = pool({ lanes: 1 });
    const first = run(subject);
    if (lanes[0] !== undefined) lanes[0].ended = true;
    await lanes[0]?.answer();
    await first;

    run(subject).catch(() => undefined);

    expect(lanes).toHaveLength(2);
  });

  it('lets what runs end before it closes, and starts anew afterwards', async () => {
    const subject = pool({ lanes: 1 });
    const running = [1, 2, 3, 4].map(() => run(subject));
    const queued = rejection(run(subject));
    const closing = subject.close();
    expect(await queued).toBeInstanceOf(KmsUnavailableError);
    expect(lanes[0]?.stopped).toBe(false);

    for (let i = 0; i < 4; i++) await lanes[0]?.answer();
    await expect(Promise.all(running)).resolves.toHaveLength(4);
    await closing;

    expect(lanes[0]).toMatchObject({ stopped: true });
    expect(lanes[0]?.requests).toEqual(['health', 'health', 'health', 'health', 'close']);
    run(subject).catch(() => undefined);
    expect(lanes).toHaveLength(2);
  });

  it('closes without waiting for a token that is silent', async () => {
    const subject = pool({ lanes: 1 });
    const running = rejection(run(subject));
    jest.advanceTimersByTime(1000);
    await running;

    await expect(subject.close()).resolves.toBeUndefined();
    expect(lanes[0]?.stopped).toBe(false);
  });
});
