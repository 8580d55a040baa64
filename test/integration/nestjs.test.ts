import {
  Body,
  Controller,
  ConsoleLogger,
  Get,
  Injectable,
  Module,
  Post,
  Query,
  UseFilters,
} from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { ConfigModule, ConfigService } from '@nestjs/config';
import { APP_FILTER } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import {
  getDataSourceToken,
  getRepositoryToken,
  InjectRepository,
  TypeOrmModule,
} from '@nestjs/typeorm';
import request from 'supertest';
import { Column, DataSource, Entity, PrimaryGeneratedColumn, Repository } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  fieldEncryptionMigrations,
  KeyUnwrapError,
  KmsUnavailableError,
} from '../../src';
import type { FieldEncryption, MaintenanceReport } from '../../src';
import {
  FieldEncryptionHealthIndicator,
  FieldEncryptionModule,
  getFieldEncryptionToken,
  InjectFieldEncryption,
  UnsupportedQueryFilter,
  UnsupportedValueFilter,
} from '../../src/nestjs';
import type {
  FieldEncryptionModuleAsyncOptions,
  FieldEncryptionModuleOptions,
} from '../../src/nestjs';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { eventually } from '../support/eventually';
import { fastLocalKms, FakeKms } from '../support/key-fixtures';
import { Cleanup, keyFileKms, rejection } from '../support/protected-database';

const RIGHT = 'the passphrase that the keys are wrapped under';

@Entity()
class Patient {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Encrypted() @BlindIndex({ normalize: 'email' }) email!: string;
}

@Entity()
class Invoice {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ key: 'billing' }) iban!: string;
}

@Injectable()
class PatientsService {
  constructor(
    @InjectRepository(Patient) readonly patients: Repository<Patient>,
    @InjectFieldEncryption() readonly encryption: FieldEncryption,
  ) {}
}

@Controller('patients')
class PatientsController {
  constructor(private readonly service: PatientsService) {}

  @Post()
  create(@Body() patient: Partial<Patient>) {
    return this.service.patients.save(this.service.patients.create(patient));
  }

  @Get('sorted')
  @UseFilters(UnsupportedQueryFilter)
  sorted(@Query('by') by: string) {
    return this.service.patients.find({ order: { [by]: 'ASC' } });
  }

  /** Sorts by what the program says. */
  @Get('mistaken')
  mistaken() {
    return this.service.patients.find({ order: { email: 'ASC' } });
  }
}

@Controller('ready')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly encryption: FieldEncryptionHealthIndicator,
  ) {}

  @Get()
  ready() {
    const now = { rememberMs: 0, timeoutMs: 30_000 };
    return this.health.check([() => this.encryption.isHealthy('encryption', now)]);
  }
}

@Module({
  imports: [TypeOrmModule.forFeature([Patient]), TerminusModule.forRoot({ logger: false })],
  controllers: [PatientsController, HealthController],
  providers: [PatientsService, { provide: APP_FILTER, useClass: UnsupportedValueFilter }],
})
class PatientsModule {}

/** A KMS that can be told to unwrap only. */
class WrappingKms extends FakeKms {
  isReadOnly = false;

  override wrapKey(...args: Parameters<FakeKms['wrapKey']>): ReturnType<FakeKms['wrapKey']> {
    if (this.isReadOnly) throw new KmsUnavailableError('the cable is cut');
    return super.wrapKey(...args);
  }
}

/** Keeps what an application logs as errors. */
class RecordingLogger extends ConsoleLogger {
  readonly errors: string[] = [];

  constructor() {
    super({ logLevels: ['error'] });
  }

  override error(message: unknown, ...rest: unknown[]): void {
    this.errors.push([message, ...rest].map(String).join(' '));
  }
}

describeDiagonal('FieldEncryptionModule', (kind) => {
  const cleanup = new Cleanup();
  const apps: INestApplication[] = [];
  let database: TestDatabase;
  let logger: RecordingLogger;

  beforeEach(async () => {
    database = await cleanup.create(kind);
    logger = new RecordingLogger();
  });
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
    await cleanup.run();
  });

  /** A module as an application has it: the options come from the configuration. */
  function encrypted(
    options: Partial<FieldEncryptionModuleOptions> = {},
    {
      typeorm = {},
      ...rest
    }: Partial<Omit<FieldEncryptionModuleAsyncOptions, 'typeorm'>> & {
      typeorm?: object;
    } = {},
  ) {
    const config = ConfigModule.forRoot({ ignoreEnvFile: true, load: [() => ({ APP: 'clinic' })] });
    return FieldEncryptionModule.forRootAsync({
      imports: [config],
      inject: [ConfigService],
      useFactory: (configService: ConfigService) => ({
        kms: keyFileKms(),
        application: configService.getOrThrow<string>('APP'),
        ...options,
      }),
      typeorm: {
        inject: [ConfigService],
        useFactory: (configService: ConfigService) => ({
          ...(database.dataSourceOptions as object),
          ...{ synchronize: configService.get('APP') === 'clinic', autoLoadEntities: true },
        }),
        ...typeorm,
      },
      ...rest,
    });
  }

  async function start(...imports: unknown[]): Promise<INestApplication> {
    const module = await Test.createTestingModule({ imports: imports as [] })
      .setLogger(logger)
      .compile();
    const app = module.createNestApplication({ logger });
    apps.push(app);
    return app.init();
  }

  it('encrypts the entities of forFeature, with options from the configuration', async () => {
    const app = await start(encrypted(), PatientsModule);
    const { patients, encryption } = app.get(PatientsService);
    await patients.save({ name: 'Ada', email: 'ada@example.org' });
    expect(await patients.findOneBy({ email: 'ADA@example.org' })).toMatchObject({ name: 'Ada' });
    const [row] = await app.get(DataSource).query('SELECT email FROM patient');
    expect(row.email).not.toContain('ada');
    expect(encryption).toBe(app.get(getFieldEncryptionToken()));
    expect(await encryption.decryptValue(Patient, 'email', row.email)).toBe('ada@example.org');
    await app.close();

    const other = start(encrypted({ application: 'another' }), PatientsModule);
    expect(await rejection(other)).toBeInstanceOf(KeyUnwrapError);
  });

  it('takes the place of TypeOrmModule.forRoot with literal options', async () => {
    const load = [() => ({ APP: 'clinic' })];
    const literal = FieldEncryptionModule.forRoot({
      ...(database.dataSourceOptions as object),
      ...{ name: 'billing', autoLoadEntities: true, synchronize: true },
      imports: [ConfigModule.forRoot({ ignoreEnvFile: true, load })],
      inject: [ConfigService],
      encryption: (config: ConfigService) => ({
        kms: keyFileKms(),
        application: config.getOrThrow<string>('APP'),
      }),
    });
    const app = await start(literal, TypeOrmModule.forFeature([Invoice], 'billing'));
    const invoices = app.get<Repository<Invoice>>(getRepositoryToken(Invoice, 'billing'));
    await invoices.save({ iban: 'DE02 1203 0000 0000 2020 51' });
    const dataSource = app.get<DataSource>(getDataSourceToken('billing'));
    const [row] = await dataSource.query('SELECT iban FROM invoice');
    expect(row.iban).not.toContain('DE02');
    const handle = app.get<FieldEncryption>(getFieldEncryptionToken('billing'));
    expect(await handle.decryptValue(Invoice, 'iban', row.iban)).toMatch(/^DE02/);
    expect(dataSource.options).not.toHaveProperty('encryption');
  });

  it('has several DataSources by name, each with its keys', async () => {
    const second = await cleanup.create(kind);
    const billing = encrypted(
      {},
      {
        name: 'billing',
        typeorm: {
          useFactory: () => ({
            ...(second.dataSourceOptions as object),
            ...{ synchronize: true, autoLoadEntities: true },
          }),
        },
      },
    );
    const features = TypeOrmModule.forFeature([Invoice], 'billing');
    const app = await start(encrypted(), billing, PatientsModule, features);
    const invoices = app.get<Repository<Invoice>>(getRepositoryToken(Invoice, 'billing'));
    await invoices.save({ iban: 'DE02 1203 0000 0000 2020 51' });
    const keysOf = async (name?: string) =>
      (await app.get<FieldEncryption>(getFieldEncryptionToken(name)).keys.list()).map(
        (key) => key.name,
      );
    expect([await keysOf(), await keysOf('billing')]).toEqual([['default'], ['billing']]);
    const indicator = app.get(FieldEncryptionHealthIndicator);
    expect(await indicator.isHealthy('billing', { name: 'billing', timeoutMs: 30_000 })).toEqual({
      billing: { status: 'up', encryption: 'ok' },
    });

    const sources = [app.get(DataSource), app.get<DataSource>(getDataSourceToken('billing'))];
    await app.close();
    expect(sources.map(({ isInitialized }) => isInitialized)).toEqual([false, false]);
    expect(logger.errors).toEqual([]);
  });

  describe('A start that cannot succeed', () => {
    let made: DataSource[];
    const counting = {
      dataSourceFactory: async (options?: DataSourceOptions) => {
        made.push(new DataSource(options as DataSourceOptions));
        return made.at(-1)!;
      },
    };

    beforeEach(async () => {
      made = [];
      const first = await start(encrypted({ kms: fastLocalKms(RIGHT) }), PatientsModule);
      await first.close();
    });

    it('ends at once for a wrong passphrase, with the reason', async () => {
      const wrong = { kms: fastLocalKms(`not ${RIGHT}`) };
      const error = await rejection(start(encrypted(wrong, { typeorm: counting }), PatientsModule));
      expect(error).toBeInstanceOf(KeyUnwrapError);
      expect(error.message).toMatch(/passphrase/);
      expect(made).toHaveLength(1);
    });

    it('goes on without keys where that was asked for', async () => {
      const wrong = { kms: fastLocalKms(`not ${RIGHT}`), requireKeys: false };
      const app = await start(encrypted(wrong), PatientsModule);
      const { patients } = app.get(PatientsService);
      const ada = { name: 'Ada', email: 'ada@example.org' };
      expect(await rejection(patients.save(ada))).toBeInstanceOf(KeyUnwrapError);
      await request(app.getHttpServer()).get('/ready').expect(503);
    });

    it('ends at once for a wrong option, and is tried again where the database is away', async () => {
      const misspelt = { aplication: 'clinic' } as Partial<FieldEncryptionModuleOptions>;
      const error = await rejection(
        start(encrypted(misspelt, { typeorm: counting }), PatientsModule),
      );
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('"aplication"');
      expect(made).toHaveLength(1);

      const away = {
        ...counting,
        useFactory: () => ({
          ...{ type: 'postgres', host: '127.0.0.1', port: 1 },
          ...{ retryAttempts: 3, retryDelay: 1, entities: [] },
        }),
      };
      await rejection(start(encrypted({}, { typeorm: away })));
      expect(made).toHaveLength(4);
    });
  });

  it('starts once main.ts has initialized the DataSource and run the migrations', async () => {
    const typeorm = {
      useFactory: () => ({
        ...(database.dataSourceOptions as object),
        ...{ migrations: [...fieldEncryptionMigrations], autoLoadEntities: true },
        manualInitialization: true,
      }),
    };
    const create = async (): Promise<INestApplication> => {
      const imports = [encrypted({}, { typeorm }), PatientsModule];
      const module = await Test.createTestingModule({ imports }).compile();
      const app = module.createNestApplication({ logger });
      apps.push(app);
      return app;
    };
    const tooEarly = await create();
    await tooEarly.get(DataSource).initialize();
    expect((await rejection(tooEarly.init())).message).toContain('fieldEncryptionMigrations');
    await tooEarly.close();

    const app = await create();
    await app.get(DataSource).initialize();
    await app.get(DataSource).runMigrations();
    await app.init();
    expect(await app.get(PatientsService).encryption.keys.list()).toHaveLength(1);
  });

  it('forgets the keys and ends maintenance when the application closes', async () => {
    let runs = 0;
    const ran = new Promise<MaintenanceReport>((resolve) => {
      const maintenance = {
        everyMs: 5,
        onReport: (report: MaintenanceReport) => {
          runs += 1;
          resolve(report);
        },
      };
      void start(encrypted({ maintenance }), PatientsModule);
    });
    expect((await ran).failures).toEqual([]);
    const [app] = apps;
    const dataSource = app!.get(DataSource);
    await app!.close();
    const atEnd = runs;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(runs).toBe(atEnd);
    expect(await fieldEncryption(dataSource).health()).toMatchObject({ ok: false, keys: [] });
  });

  it('logs what maintenance could not do', async () => {
    const kms = new WrappingKms();
    await (await start(encrypted({ kms }), PatientsModule)).close();
    kms.isReadOnly = true;
    const keyPolicies = { '*': { rotation: { kind: 'periodic', everyDays: 1 } } } as const;
    const now = () => new Date(Date.now() + 5 * 86_400_000);
    await start(encrypted({ kms, keyPolicies, now, maintenance: {} }), PatientsModule);
    await eventually(async () => {
      if (logger.errors.length === 0) throw Object.assign(new Error(), { retryable: true });
    });
    expect(logger.errors.join()).toMatch(/Key "default".*the cable is cut/);
  });

  it('starts again in the same process, as hot reload has it', async () => {
    const first = await start(encrypted(), PatientsModule);
    await first.get(PatientsService).patients.save({ name: 'Ada', email: 'ada@example.org' });
    await first.close();
    const second = await start(encrypted(), PatientsModule);
    const { patients } = second.get(PatientsService);
    expect(await patients.findOneBy({ email: 'ada@example.org' })).toMatchObject({ name: 'Ada' });
  });

  it('lets a test put something else in the place of the handle', async () => {
    const module = await Test.createTestingModule({ imports: [encrypted(), PatientsModule] })
      .overrideProvider(getFieldEncryptionToken())
      .useValue({ ready: async () => undefined })
      .compile();
    const app = module.createNestApplication({ logger });
    apps.push(app);
    await app.init();
    expect(Object.keys(app.get(PatientsService).encryption)).toEqual(['ready']);
  });

  it('is not ready once its keys are too old, and ready again when the KMS is back', async () => {
    const kms = new FakeKms();
    const app = await start(
      encrypted({ kms, keyCache: { ttlMs: 50, maxAgeMs: 500 } }),
      PatientsModule,
    );
    const responds = (code: number) =>
      eventually(async () => {
        const { status, body } = await request(app.getHttpServer()).get('/ready');
        if (status !== code) throw Object.assign(new Error(), { retryable: true });
        return body;
      });
    expect((await responds(200)).info.encryption.status).toBe('up');
    kms.outage = new KmsUnavailableError('the cable is cut');
    const { error } = await responds(503);
    expect(error).toEqual({ encryption: { status: 'down', encryption: 'failing' } });
    kms.outage = undefined;
    await responds(200);
  });

  describe.each([
    ['Express', () => new ExpressAdapter()],
    ['Fastify', () => new FastifyAdapter()],
  ] as const)('The filters over %s', (_platform, adapter) => {
    let app: INestApplication;

    beforeEach(async () => {
      const module = await Test.createTestingModule({ imports: [encrypted(), PatientsModule] })
        .setLogger(logger)
        .compile();
      app = module.createNestApplication(adapter(), { logger });
      apps.push(app);
      await app.init();
      if (app.getHttpAdapter().getType() === 'fastify') {
        await (app as NestFastifyApplication).getHttpAdapter().getInstance().ready();
      }
    });

    const silent = /patient|email/i;

    it('respond with 400 to a value that cannot be stored, and name no property', async () => {
      const ada = { name: 'Ada', email: '\ud800' };
      const { status, body } = await request(app.getHttpServer()).post('/patients').send(ada);
      expect([status, body.message]).toEqual([400, 'A value of the request cannot be used.']);
      expect(JSON.stringify(body)).not.toMatch(silent);
    });

    it('respond with 400 to a column that the client chose, with 500 to one that the program did', async () => {
      await request(app.getHttpServer()).get('/patients/sorted?by=name').expect(200);
      const { body } = await request(app.getHttpServer())
        .get('/patients/sorted?by=email')
        .expect(400);
      expect(JSON.stringify(body)).not.toMatch(silent);
      const mistaken = await request(app.getHttpServer()).get('/patients/mistaken').expect(500);
      expect(JSON.stringify(mistaken.body)).not.toMatch(silent);
      expect(logger.errors.join()).toContain('Patient.email');
    });
  });
});
