# Embeds migrations/<database>/NNNN_name.sql in the binary, so that `postoffice migrate` needs no files.
file(GLOB migration_files CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/migrations
     ${CMAKE_SOURCE_DIR}/migrations/postgres/*.sql ${CMAKE_SOURCE_DIR}/migrations/sqlite/*.sql)
list(SORT migration_files)
set(POSTOFFICE_MIGRATIONS_SOURCE ${CMAKE_BINARY_DIR}/embedded_migrations.cc)
set(content "// Written by cmake/migrations.cmake from migrations/.\n#include \"store/migration.h\"\n\nnamespace postoffice {\n\nstd::vector<EmbeddedMigration> embedded_migrations() {\n  return {\n")
foreach(file ${migration_files})
  file(READ ${CMAKE_SOURCE_DIR}/migrations/${file} sql)
  file(SHA256 ${CMAKE_SOURCE_DIR}/migrations/${file} checksum)
  string(APPEND content "      {\"${file}\", R\"sql_(${sql})sql_\", \"${checksum}\"},\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/migrations/${file})
endforeach()
string(APPEND content "  };\n}\n\n}  // namespace postoffice\n")
file(CONFIGURE OUTPUT ${POSTOFFICE_MIGRATIONS_SOURCE} CONTENT "${content}" @ONLY)
