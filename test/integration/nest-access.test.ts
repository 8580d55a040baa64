import { Body, Controller, Get, Module, Post, Sse } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { defer, from, map, mergeMap, timer } from 'rxjs';
import request from 'supertest';
import { Entity, PrimaryColumn, Repository } from 'typeorm';
import { Encrypted, fieldEncryption, Sealed } from '../../src';
import type { AccessLevel, Actor } from '../../src';
import {
  AccessDeniedFilter,
  ActorInterceptor,
  FieldEncryptionModule,
  RateLimitedFilter,
} from '../../src/nestjs';
import type { RequestActor } from '../../src/nestjs';
import { describeDiagonal } from '../support/databases';
import { Cleanup, keyFileKms } from '../support/protected-database';

@Entity()
class Chart {
  @PrimaryColumn() id!: number;
  @Encrypted() name!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) findings!: Sealed<string> | string;
}

@Controller('charts')
class ChartsController {
  constructor(@InjectRepository(Chart) private readonly charts: Repository<Chart>) {}

  @Post()
  create(@Body() chart: Chart) {
    return this.charts.insert(chart);
  }

  @Get()
  find() {
    return this.charts.find();
  }

  @Get('deferred')
  deferred() {
    return defer(() => this.charts.find());
  }

  @Get('later')
  async later() {
    return Promise.resolve(timer(1).pipe(mergeMap(() => from(this.charts.find()))));
  }

  @Sse('events')
  events() {
    return timer(1).pipe(
      mergeMap(() => this.charts.find()),
      map((data) => ({ data })),
    );
  }

  @Post('rotation')
  async rotate() {
    const { version } = await fieldEncryption(this.charts.manager.connection).keys.rotate();
    return { version };
  }
}

const actorOf: RequestActor = (context) => {
  const { headers } = context
    .switchToHttp()
    .getRequest<{ headers: Readonly<Record<string, string>> }>();
  const user = headers['x-user'];
  return user === undefined ? undefined : { id: user, roles: [user] };
};

@Module({
  imports: [TypeOrmModule.forFeature([Chart])],
  controllers: [ChartsController],
  providers: [
    { provide: APP_INTERCEPTOR, useValue: new ActorInterceptor(actorOf) },
    { provide: APP_FILTER, useClass: AccessDeniedFilter },
    { provide: APP_FILTER, useClass: RateLimitedFilter },
  ],
})
class ChartsModule {}

const LEVELS: Readonly<Record<string, AccessLevel>> = { nurse: 1, operator: 2, auditor: 0 };
const limit = (actor?: Actor): number => (actor?.id === 'nurse' ? 1 : 10);

describeDiagonal('ActorInterceptor', (kind) => {
  const cleanup = new Cleanup();
  let application: INestApplication | undefined;

  afterEach(async () => {
    await application?.close();
    await cleanup.run();
  });

  beforeEach(async () => {
    const { dataSourceOptions } = await cleanup.create(kind);
    const encryption = FieldEncryptionModule.forRootAsync({
      useFactory: () => ({
        kms: keyFileKms(),
        guard: { reads: { values: limit, windowMs: 60_000, action: 'refuse' as const } },
        access: { levelOf: (actor?: Actor) => LEVELS[actor?.roles?.[0] ?? ''] ?? 0 },
      }),
      typeorm: {
        useFactory: () => ({ ...dataSourceOptions, autoLoadEntities: true, synchronize: true }),
      },
    });
    const module = await Test.createTestingModule({
      imports: [encryption, ChartsModule],
    }).compile();
    application = module.createNestApplication(new ExpressAdapter(), { logger: false });
    await application.init();
  });

  it('lets each request do what its actor may, and masks what is sealed', async () => {
    const server = request(application?.getHttpServer());
    const chart = { id: 1, name: 'Ada', findings: 'canary findings' };
    await server.post('/charts').set('x-user', 'nurse').send(chart).expect(201);
    await server
      .get('/charts')
      .set('x-user', 'nurse')
      .expect(200, [{ id: 1, name: 'Ada', findings: '[sealed]' }]);
    const forbidden = { message: 'Forbidden', statusCode: 403 };
    await server.get('/charts').expect(403, forbidden);
    await server.post('/charts/rotation').set('x-user', 'nurse').expect(403, forbidden);
    await server.post('/charts/rotation').set('x-user', 'operator').expect(201, { version: 2 });
  });

  it('runs what a handler returns as an Observable for the actor, too', async () => {
    const server = request(application?.getHttpServer());
    const chart = { id: 1, name: 'canary', findings: 'canary findings' };
    await server.post('/charts').set('x-user', 'nurse').send(chart).expect(201);
    for (const path of ['deferred', 'later', 'events']) {
      const { text } = await server.get(`/charts/${path}`).set('x-user', 'auditor');
      expect([path, text]).toEqual([path, expect.not.stringContaining('canary')]);
      const allowed = await server.get(`/charts/${path}`).set('x-user', 'operator');
      expect([path, allowed.text]).toEqual([path, expect.stringContaining('canary')]);
    }
  });

  it('tells an actor who reads too much when to try again', async () => {
    const server = request(application?.getHttpServer());
    for (const id of [1, 2]) {
      const chart = { id, name: 'Ada', findings: 'canary findings' };
      await server.post('/charts').set('x-user', 'nurse').send(chart).expect(201);
    }
    const { headers } = await server
      .get('/charts')
      .set('x-user', 'nurse')
      .expect(429, { message: 'Too Many Requests', statusCode: 429 });
    expect(headers['retry-after']).toMatch(/^(60|[1-5]\d)$/);
  });
});
