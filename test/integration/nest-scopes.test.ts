import { Body, Controller, Get, Injectable, Module, Param, Post } from '@nestjs/common';
import type { ExecutionContext, INestApplication, PipeTransform } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { defer, interval, map, take } from 'rxjs';
import request from 'supertest';
import { Entity, PrimaryColumn, Repository } from 'typeorm';
import { Encrypted } from '../../src';
import { FieldEncryptionModule, KeyScopeInterceptor, ScopeMismatchFilter } from '../../src/nestjs';
import type { RequestScope } from '../../src/nestjs';
import { describeDiagonal } from '../support/databases';
import { Cleanup, keyFileKms } from '../support/protected-database';

/** Its tenant is that of the request alone. */
@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted({ scope: 'tenant' }) text!: string;
}

/** Reads the database before the handler does. */
@Injectable()
class NotePipe implements PipeTransform<string, Promise<Note>> {
  constructor(@InjectRepository(Note) private readonly notes: Repository<Note>) {}

  transform(id: string): Promise<Note> {
    return this.notes.findOneByOrFail({ id: Number(id) });
  }
}

@Controller('notes')
class NotesController {
  constructor(@InjectRepository(Note) private readonly notes: Repository<Note>) {}

  @Post()
  create(@Body() note: Note) {
    return this.notes.save(this.notes.create(note));
  }

  @Get('piped/:id')
  piped(@Param('id', NotePipe) note: Note) {
    return note;
  }

  @Get('streamed/:id')
  streamed(@Param('id') id: string) {
    return interval(1).pipe(
      take(3),
      map(() => this.notes.findOneByOrFail({ id: Number(id) })),
    );
  }

  @Get('deferred/:id')
  deferred(@Param('id') id: string) {
    return defer(() => this.notes.findOneByOrFail({ id: Number(id) }));
  }

  @Get(':id')
  find(@Param('id') id: string) {
    return this.notes.findOneByOrFail({ id: Number(id) });
  }
}

const tenantOf: RequestScope = (context: ExecutionContext) => {
  const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
  return headers['x-tenant'] === undefined ? undefined : { tenant: headers['x-tenant'] };
};

@Module({
  imports: [TypeOrmModule.forFeature([Note])],
  controllers: [NotesController],
  providers: [
    { provide: APP_INTERCEPTOR, useValue: new KeyScopeInterceptor(tenantOf) },
    { provide: APP_FILTER, useClass: ScopeMismatchFilter },
  ],
})
class NotesModule {}

describeDiagonal('KeyScopeInterceptor', (kind) => {
  const cleanup = new Cleanup();
  let app: INestApplication | undefined;

  afterEach(async () => {
    await app?.close();
    await cleanup.run();
  });

  describe.each([
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ] as const)('over %s', (_platform, adapter) => {
    beforeEach(async () => {
      const { dataSourceOptions } = await cleanup.create(kind);
      const encryption = FieldEncryptionModule.forRootAsync({
        useFactory: () => ({ kms: keyFileKms(), application: 'notes' }),
        typeorm: {
          useFactory: () => ({ ...dataSourceOptions, autoLoadEntities: true, synchronize: true }),
        },
      });
      const module = await Test.createTestingModule({
        imports: [encryption, NotesModule],
      }).compile();
      app = module.createNestApplication(adapter(), { logger: false });
      await app.init();
      if (app.getHttpAdapter().getType() === 'fastify') {
        await (app as NestFastifyApplication).getHttpAdapter().getInstance().ready();
      }
    });

    const get = (path: string, tenant: string) =>
      request(app?.getHttpServer()).get(path).set('x-tenant', tenant);
    const post = (id: number, tenant: string) =>
      request(app?.getHttpServer())
        .post('/notes')
        .set('x-tenant', tenant)
        .send({ id, text: `canary of ${tenant}` });

    it('runs each request in the scope of its own, pipes and what is streamed included', async () => {
      const tenants = ['7', '8', '9', '10'];
      await Promise.all(tenants.map((tenant, id) => post(id, tenant).expect(201)));
      await Promise.all(
        tenants.map(async (tenant, id) => {
          const text = `canary of ${tenant}`;
          for (const path of ['/notes', '/notes/piped', '/notes/streamed', '/notes/deferred']) {
            const { body } = await get(`${path}/${String(id)}`, tenant).expect(200);
            expect(body).toEqual({ id, text });
          }
        }),
      );
    });

    it('lets a row of another scope be not found, without a word about it', async () => {
      await post(1, '7').expect(201);
      for (const path of ['/notes/1', '/notes/piped/1', '/notes/deferred/1']) {
        const { body } = await get(path, '8').expect(404);
        expect(body).toEqual({ statusCode: 404, message: 'Not Found' });
      }
    });

    it('leaves a request without a scope without one, which is a mistake of the program', async () => {
      const response = await request(app?.getHttpServer())
        .post('/notes')
        .send({ id: 1, text: 'canary' });
      expect(response.status).toBe(500);
    });
  });
});
